// Flags and messages that the examples share.
#pragma once
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/thread_pool.hpp"
#include "ivl/serve/chat.hpp"
#include "ivl/text/channels.hpp"
#include "json_answer.hpp"
#include "load_flags.hpp"
#include "models.hpp"
#include "notes.hpp"
#include "picture_flags.hpp"
#include "program.hpp"
#include "status_line.hpp"
#include "text_file.hpp"

/// Flags about how to generate. Unset ones follow the checkpoint's generation_config.json.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty;
  std::optional<int> top_k, no_repeat_ngram_size, min_new_tokens;
  std::uint64_t seed = 0;
  std::optional<int> max_new_tokens;
  std::vector<std::string> stop, bad_words, choices;
  std::optional<std::string> regex, json_schema;
  std::shared_ptr<const ivl::Constraint> constraint;  ///< see read_constraint
  bool separate_thoughts = false, keep_special_tokens = false, thinking = false;

  /// After --system, which `chat` has.
  void add_to(CLI::App& app, ivl::ChatOptions& chat) {
    CLI::Option* const think =
        app.add_flag_callback(
               "--thinking",
               [this, &chat] {
                 thinking = true;
                 chat.system = ivl::thinking_system;
               },
               "the system message that makes InternVL3.5 think aloud before it answers, and a temperature of 0.6")
            ->excludes(app.get_option("--system"));
    app.add_option("--temperature", temperature, "0 is greedy (default: what the checkpoint proposes, mostly greedy)");
    app.add_option("--top-k", top_k, "draw from the K most probable tokens; 0: all");
    app.add_option("--top-p", top_p, "draw from the most probable tokens that hold this much");
    app.add_option("--min-p", min_p, "leave out tokens less probable than this, relative to the most probable");
    app.add_option("--repetition-penalty", repetition_penalty, "above 1: tokens already used become less likely");
    app.add_option("--frequency-penalty", frequency_penalty,
                   "above 0: tokens become less likely each time that the answer holds them");
    app.add_option("--presence-penalty", presence_penalty, "above 0: tokens that the answer holds become less likely");
    app.add_option("--no-repeat-ngram-size", no_repeat_ngram_size,
                   "so many tokens in a row come only once; 0: any may come again");
    app.add_option("--bad-word", bad_words, "text whose tokens the answer does not hold; repeat for several");
    app.add_option("--seed", seed, "of the sampler")->capture_default_str();
    app.add_option("--max-new-tokens", max_new_tokens,
                   "longest answer (default: what the checkpoint proposes, or 1024)")
        ->check(CLI::PositiveNumber);
    app.add_option("--min-new-tokens", min_new_tokens, "no stop token ends the answer before");
    app.add_option("--stop", stop, "text that ends the answer; repeat for several");
    CLI::Option* const choice =
        app.add_option("--choice", choices, "the answer is one of these texts; repeat for each");
    CLI::Option* const matching =
        app.add_option("--regex", regex, "the answer matches this regular expression as a whole (docs/constraints.md)");
    CLI::Option* const by_schema =
        app.add_option("--json-schema", json_schema,
                       "a file: the answer is JSON by this schema (docs/constraints.md); -: standard input");
    choice->excludes(matching)->excludes(by_schema)->excludes(think);
    matching->excludes(by_schema)->excludes(think);
    by_schema->excludes(think);
    app.add_flag("--separate-thoughts", separate_thoughts,
                 "the answer alone to stdout, and to stderr what was thought before it: in <think>, or in gpt-oss's "
                 "channels");
    app.add_flag("--keep-special-tokens", keep_special_tokens,
                 "print special tokens of the answer too, such as <ref> and <box>");
  }

  /// Makes what --choice, --regex or --json-schema says of a model's answers: once, before `options`. Throws
  /// RequestError.
  void read_constraint(const ivl::Tokenizer& tokenizer) {
    if (choices.empty() && !regex && !json_schema) return;
    const auto tokens = std::make_shared<const ivl::TokenTrie>(tokenizer);
    if (!choices.empty())
      constraint = ivl::Constraint::choice(tokens, choices);
    else if (regex)
      constraint = ivl::Constraint::regex(tokens, *regex);
    else
      constraint = ivl::Constraint::json_schema(tokens, text_of_file(*json_schema));
  }

  ivl::GenerationOptions options() const {
    return {.max_new_tokens = max_new_tokens,
            .min_new_tokens = min_new_tokens,
            .sampling = {.temperature = thinking ? temperature.value_or(0.6f) : temperature,
                         .top_k = top_k,
                         .top_p = top_p,
                         .min_p = min_p,
                         .repetition_penalty = repetition_penalty,
                         .frequency_penalty = frequency_penalty,
                         .presence_penalty = presence_penalty,
                         .seed = seed},
            .stop_strings = stop,
            .special_tokens = keep_special_tokens ? std::optional(ivl::SpecialTokens::keep) : std::nullopt,
            .no_repeat_ngram_size = no_repeat_ngram_size,
            .bad_words = bad_words,
            .constraint = constraint};
  }
};

/// Flags about which model, and how it sees and runs.
struct ModelFlags {
  std::string checkpoint, device = "cpu";
  LoadFlags load;
  ivl::ChatOptions chat;
  PictureFlags pictures;
  int threads = ivl::usable_cpus();
  bool quiet = false;

  void add_to(CLI::App& app) {
    app.add_option("--checkpoint", checkpoint,
                   "folder of a published checkpoint (config.json, tokenizer, safetensors), or a GGUF file")
        ->required();
    load.add_to(app);
    app.add_option("--system", chat.system, "system message (default: the checkpoint's own)");
    app.add_option("--max-tiles", chat.max_tiles,
                   "most tiles of a picture, the thumbnail not counted (default: the checkpoint's own)");
    pictures.add_to(app);
    app.add_option("--context", chat.kv_tokens,
                   "room for the conversation in tokens (default: grows with it, up to the model's own context)")
        ->check(CLI::PositiveNumber);
    app.add_option("--device", device, "cpu or cuda")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
    app.add_option("--threads", threads, "CPU threads")->capture_default_str()->check(CLI::Range(1, 1024));
    app.add_flag("--quiet", quiet, "nothing on stderr but errors and what other flags ask for");
  }
};

/// Flags about how answers are printed.
struct OutputFlags {
  bool json = false, stats = false;

  void add_to(CLI::App& app) {
    app.add_flag("--json", json,
                 "print each answer as one JSON object on a line once it is whole: text, ids, prompt_tokens, finish, "
                 "timings_ms, images with their grids");
    app.add_flag("--stats", stats, "print where the time of each answer went");
  }
};

/// Opens it and says on stderr what runs where.
inline ivl::AnyModel open_model(const ModelFlags& flags, StatusLine& status) {
  const ModelChoice choice{.checkpoint = flags.checkpoint,
                           .threads = flags.threads,
                           .int8_products = flags.load.int8_products(),
                           .kv_tokens = flags.chat.kv_tokens.value_or(0)};
  std::string device;
  if (!flags.quiet) print_notes(choice.checkpoint, flags.load.mmproj);
  const auto open = flags.device == "cuda" ? open_on_cuda : open_on_cpu;
  ivl::AnyModel model = open(choice, flags.load.options(status), device);
  char parameters[32];
  std::snprintf(parameters, sizeof parameters, "%.6g", double(model.parameters()) / 1e6);
  status.say(std::string(parameters) + " M parameters, " + device);
  return model;
}

inline void print_grid(StatusLine& status, const std::string& file, const ivl::Picture& picture) {
  const auto by = [](int a, int b) { return std::to_string(a) + " x " + std::to_string(b); };
  status.say(file + ": " + by(picture.size().width, picture.size().height) + ", " +
             by(picture.grid().columns, picture.grid().rows) + " tiles");
}

/// Prints an answer as it comes. What the model thought stands in it; with `separate` its final text goes to stdout
/// alone, and what it thought before to stderr.
class AnswerPrinter {
 public:
  AnswerPrinter(bool separate, StatusLine& status) : separate_(separate), status_(status) {}
  void print(std::string_view text) {
    status_.clear();
    if (separate_)
      reader_.push(text, to_streams);
    else
      print_text(text);
  }
  void finish() {
    status_.clear();
    reader_.finish(to_streams);
    print_text("\n");
  }

 private:
  static void to_streams(std::string_view channel, std::string_view text) {
    if (ivl::is_answer(channel))
      print_text(text);
    else
      std::fprintf(stderr, "%.*s", int(text.size()), text.data());
  }
  bool separate_;
  StatusLine& status_;
  ivl::ChannelReader reader_;
};

/// A RoomError of action() gets the flags that help.
template <class Action>
void naming_flags(const Action& action) {
  try {
    action();
  } catch (const ivl::RoomError& error) {
    ivl::fail<ivl::RoomError>(error.what(),
                              ". --max-tiles N makes a picture smaller, --context N makes room up to the model's own "
                              "context");
  }
}

/// Opens pictures and says how they will be cut.
inline std::vector<ivl::Picture> open_pictures(const std::vector<std::string>& files, const ModelFlags& flags,
                                               const ivl::Processor& processor, StatusLine& status) {
  std::vector<ivl::Picture> pictures;
  for (const std::string& file : files) {
    pictures.push_back(flags.pictures.open(file, processor, processor.tile_rules(flags.chat.max_tiles)));
    print_grid(status, file, pictures.back());
  }
  return pictures;
}

inline void print_statistics(const ivl::AnswerStatistics& s) {
  const int prefilled = s.prompt_tokens - s.cached_tokens;
  std::fprintf(stderr,
               "tiles %d in %.0f ms; prompt %d tokens (%d kept from earlier) in %.0f ms, %.0f tok/s; first token after "
               "%.0f ms; ",
               s.tiles, 1e3 * s.vision_s, s.prompt_tokens, s.cached_tokens, 1e3 * s.prefill_s, prefilled / s.prefill_s,
               1e3 * (s.vision_s + s.prefill_s));
  // The first token comes out of prefill.
  if (s.new_tokens > 1 && s.decode_s > 0)
    std::fprintf(stderr, "%d tokens, %.1f tok/s\n", s.new_tokens, (s.new_tokens - 1) / s.decode_s);
  else
    std::fprintf(stderr, "%d tokens\n", s.new_tokens);
}

/// What a program says beside an answer: where it was cut, and what --stats asks for.
inline void print_remarks(ivl::Finish finish, const ivl::AnswerStatistics& statistics, const SamplingFlags& flags,
                          const OutputFlags& output, StatusLine& status) {
  if (finish == ivl::Finish::length) {
    const int length = statistics.new_tokens;
    const bool by_flag = flags.max_new_tokens && length == *flags.max_new_tokens;
    status.say("note: the answer was cut after " + std::to_string(length) + " tokens, " +
               (by_flag ? "which --max-new-tokens allows" : "where its room ends (--max-new-tokens, --context)"));
  }
  if (output.stats) print_statistics(statistics);
}

/// What a program adds to a question, and to the JSON of its answer.
struct Additions {
  std::string marks = {};  ///< before the question, with an <image> for each picture
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
};

/// Asks about pictures, combined where the flags say so, and prints the answer: as it comes, or as JSON when it is
/// whole.
inline void ask(ivl::Chat& chat, const std::string& question, std::vector<ivl::Picture> pictures,
                const ModelFlags& model, const SamplingFlags& flags, const OutputFlags& output, StatusLine& status,
                const std::atomic<bool>* cancel = nullptr, const Additions& additions = {}) {
  AnswerPrinter printer(flags.separate_thoughts, status);
  ivl::GenerationOptions generation = flags.options();
  generation.cancel = cancel;
  generation.on_progress = [&](const ivl::AnswerProgress& progress) { status.show(progress); };
  std::string answer;
  naming_flags([&] {
    answer = chat.ask_about(
        model.pictures.at_marks(pictures), additions.marks + question, std::move(generation),
        output.json ? ivl::TextCallback() : [&](std::string_view text) { printer.print(text); });
  });
  if (output.json) {
    status.clear();
    auto answered = json_answer({.question = question,
                                 .text = answer,
                                 .ids = chat.ids(),
                                 .finish = chat.finish(),
                                 .statistics = chat.statistics(),
                                 .pictures = pictures,
                                 .separate_thoughts = flags.separate_thoughts});
    answered.update(additions.json);
    print_json(answered);
  } else {
    printer.finish();
  }
  print_remarks(chat.finish(), chat.statistics(), flags, output, status);
}
