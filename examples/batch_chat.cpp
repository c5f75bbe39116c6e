// Many questions from a file, each with its pictures, answered in shared steps: the reference's batch_chat().
#include "ivl/serve/batch_chat.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <memory>

#include "command_line.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/model/checkpoint.hpp"
#include "request_lines.hpp"

/// Errors of action() begin with the line that they are about.
template <class Action>
static void naming_line(const RequestLine& line, const Action& action) {
  try {
    action();
  } catch (const ivl::Error& error) {
    ivl::fail<ivl::Error>(line.where, ": ", error.what());
  }
}

/// The room that the `together` longest need, in whole pages: as many surely run at once.
static int room_for(std::vector<int> tokens, int together) {
  std::sort(tokens.rbegin(), tokens.rend());
  std::int64_t room = 0;
  for (std::size_t n = 0; n < tokens.size() && n < std::size_t(together); ++n)
    room += ivl::round_up(tokens[n], ivl::kv_page_tokens);
  return int(std::min<std::int64_t>(room, std::numeric_limits<int>::max()));
}

/// Its lack of memory gets the flags that help.
static std::unique_ptr<ivl::Engine> engine_for(ivl::AnyRunner& runner, const ivl::EngineOptions& options) {
  try {
    return std::make_unique<ivl::Engine>(runner, options);
  } catch (const ivl::RoomError& error) {
    ivl::fail<ivl::RoomError>(error.what(),
                              ". --together N answers fewer at a time, --max-new-tokens N and --context N "
                              "leave less room for them");
  }
}

/// What an answer failed with.
static std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& thrown) {
    return thrown.what();
  }
}

int main(int argc, char** argv) {
  CLI::App app(
      "Answers the questions of a file together. An answer is what the question alone would get, to the last bit.");
  ModelFlags model;
  SamplingFlags sampling;
  OutputFlags output;
  std::string file;
  int together = 8;
  model.add_to(app);
  model.pictures.add_combined_to(app);
  app.get_option("--context")
      ->description("room for the answers that are written at a time, in tokens (default: what the longest need)");
  app.add_option("--requests", file,
                 "JSONL: a line each, {\"question\": text, \"images\": [files]}; -: standard input. Pictures stand at "
                 "the question's <image> marks, or before it")
      ->required();
  app.add_option("--together", together, "answers that are written at a time; more wait their turn")
      ->capture_default_str()
      ->check(CLI::Range(1, 512));
  sampling.add_to(app, model.chat);
  output.add_to(app);

  return run_program(app, argc, argv, [&] {
    // What is wrong with a line is said before weights are read.
    StatusLine status(model.quiet);
    const ivl::Processor processor = ivl::load_processor(model.checkpoint, model.load.mmproj);
    sampling.read_constraint(processor.tokenizer());
    std::vector<ivl::Question> questions;
    std::vector<std::vector<ivl::Picture>> pictures;
    std::vector<int> tokens;
    const std::vector<RequestLine> lines = read_request_lines(file);
    for (const RequestLine& line : lines) {
      naming_line(line, [&] {
        pictures.push_back(open_pictures(line.images, model, processor, status));
        questions.push_back({line.question, model.pictures.at_marks(pictures.back())});
        const ivl::Prompt prompt = prompt_of(processor, model.chat.system, questions.back());
        naming_flags([&] { check_room(processor, prompt, model.chat.kv_tokens); });
        const int prompt_tokens = processor.tokens_of(prompt);
        tokens.push_back(prompt_tokens + longest_answer(sampling.options(), processor.facts(), prompt_tokens));
      });
    }
    if (!model.chat.kv_tokens) model.chat.kv_tokens = room_for(tokens, together);
    const ivl::AnyModel opened = open_model(model, status);
    const auto engine = engine_for(opened.runner(), {.kv_tokens = *model.chat.kv_tokens, .max_sequences = together});
    int code = 0;
    const auto print = [&](std::size_t number, const ivl::Sequence& answer) {
      const RequestLine& line = lines[number];
      status.clear();
      if (answer.error()) {
        code = 1;
        const std::string text = text_of(answer.error());
        std::fprintf(stderr, "error: %s: %s\n", line.where.c_str(), text.c_str());
        if (output.json) print_json({{"question", line.question}, {"error", text}});
        return;
      }
      const std::string text(answer_text(processor, answer));
      if (output.json) {
        print_json(json_answer({.question = line.question,
                                .text = text,
                                .ids = answer.generated(),
                                .finish = answer.finish(),
                                .statistics = answer.statistics(),
                                .pictures = pictures[number],
                                .separate_thoughts = sampling.separate_thoughts}));
      } else {
        print_text("User: " + line.question + "\nAssistant: ");
        AnswerPrinter printer(sampling.separate_thoughts, status);
        printer.print(text);
        printer.finish();
      }
      print_remarks(answer.finish(), answer.statistics(), sampling, output, status);
    };
    batch_chat(*engine, processor, questions, sampling.options(), model.chat.system, print);
    return code;
  });
}
