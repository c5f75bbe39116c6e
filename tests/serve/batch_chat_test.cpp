// Questions that are answered together, and pictures that stand at one mark.
#include "ivl/serve/batch_chat.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/serve/chat.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// The tiny model, and questions with no, one and more pictures.
struct ManyQuestions {
  using On = RunnerAndEngine<qwen3_tiny, cpu::Context, bf16>;
  cpu::Context ctx{2};
  Checkpoint<qwen3_tiny> checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "github"));
  const Processor& processor = checkpoint.processor;
  std::vector<Question> questions;

  ManyQuestions() {
    for (int n = 0; n < 7; ++n) {
      Question question{n % 2 == 0 ? "What is this?" : "Describe it, please, in many words."};
      for (int picture = 0; picture < n % 4; ++picture)
        question.pictures.push_back(drawn(60 + 70 * n, 10 * picture + n));
      questions.push_back(question);
    }
    questions[2].text = "Picture <image>, or <image>?";
    questions[3].pictures = {Picture::combined(questions[3].pictures)};
  }
  Picture drawn(int width, int seed) const {
    return Picture(noise_picture(width, 60, std::uint32_t(seed)), processor.tile_rules(6));
  }

  struct Answers {
    std::vector<std::string> texts;
    std::vector<std::vector<std::int32_t>> ids;
    std::vector<std::vector<float>> logits;  ///< of each token, in no order
  };
  Answers answers(Engine& engine, const std::vector<Question>& asked) {
    Answers found;
    const GenerationOptions generation{
        .max_new_tokens = 9, .ignore_stop_ids = true, .mask = [&](std::span<float> logits) {
          found.logits.emplace_back(logits.begin(), logits.end());
        }};
    const auto sequences =
        batch_chat(engine, processor, asked, generation, {}, [&](std::size_t number, const Sequence& answer) {
          CHECK(number == found.texts.size());  // in order, each as soon as it can be
          CHECK(answer.finish() == Finish::length);
          found.texts.emplace_back(answer_text(processor, answer));
          found.ids.push_back(ids_of(answer));
        });
    CHECK(sequences.size() == asked.size());
    CHECK(found.texts.size() == asked.size());
    return found;
  }
};

TEST_CASE("Questions that are answered together have the bits of each alone, whatever room there is") {
  ManyQuestions many;
  ManyQuestions::Answers alone;
  for (const Question& question : many.questions) {
    ManyQuestions::On on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 512});
    const auto answer = many.answers(on.engine, {question});
    alone.texts.push_back(answer.texts.at(0));
    alone.ids.push_back(answer.ids.at(0));
    alone.logits.insert(alone.logits.end(), answer.logits.begin(), answer.logits.end());
  }
  CHECK(alone.ids[0] != alone.ids[1]);
  std::sort(alone.logits.begin(), alone.logits.end());
  // One at a time; some wait; all in the same steps, whose rows then are of several.
  for (const int together : {1, 2, 7}) {
    CAPTURE(together);
    ManyQuestions::On on(many.ctx, many.checkpoint.vlm,
                         {.kv_tokens = 320 * together, .max_sequences = together, .max_rows = 64});
    auto found = many.answers(on.engine, many.questions);
    CHECK(found.texts == alone.texts);
    CHECK(found.ids == alone.ids);
    std::sort(found.logits.begin(), found.logits.end());
    CHECK(found.logits == alone.logits);
  }
}

TEST_CASE("The prompt of a question is that of a chat's first, with marks where it has none") {
  ManyQuestions many;
  for (const Question& question : many.questions) {
    ManyQuestions::On on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 512});
    Chat chat(on.engine, many.processor);
    const std::string text =
        chat.ask_about(question.pictures, question.text, {.max_new_tokens = 9, .ignore_stop_ids = true});
    CHECK(text == many.answers(on.engine, {question}).texts.at(0));
    CHECK(chat.statistics().prompt_tokens == many.processor.tokens_of(prompt_of(many.processor, {}, question)));
  }
}

TEST_CASE("A question that can never be answered is refused before any runs, and a callback that throws leaves none") {
  ManyQuestions many;
  ManyQuestions::On on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 512, .max_sequences = 2});
  int answered = 0;
  const auto refused = [&](const Question& last) {
    std::vector<Question> asked = many.questions;
    asked.push_back(last);
    const std::string text = what_of<RequestError>([&] {
      batch_chat(on.engine, many.processor, asked, {.max_new_tokens = 2}, {},
                 [&](std::size_t, const Sequence&) { ++answered; });
    });
    CHECK(answered == 0);
    CHECK(!on.engine.step());
    return text;
  };
  CHECK(refused({" "}) == "question: expected a text, found none");
  CHECK(contains(refused({"\xff"}), "expected UTF-8"));
  CHECK(contains(refused({"<image>?"
                          " <image>",
                          {many.drawn(60, 1)}}),
                 "1 images, but 2 <image> marks"));
  CHECK(contains(refused({std::string(9000, 'x')}), "expected fewer tokens than the model's context"));

  CHECK_THROWS_AS(batch_chat(on.engine, many.processor, many.questions, {.max_new_tokens = 2}, {},
                             [&](std::size_t number, const Sequence&) {
                               ++answered;
                               if (number == 1) throw std::bad_alloc();
                             }),
                  std::bad_alloc);
  CHECK(answered == 2);
  CHECK(!on.engine.step());
}

TEST_CASE("Combined pictures have the rows of each, behind one another") {
  ManyQuestions many;
  ManyQuestions::On on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 512});
  const Picture first = many.drawn(200, 1), second = many.drawn(60, 2);
  std::vector<float> expected = on.engine.features(first);
  const std::vector<float> rows = on.engine.features(second);
  expected.insert(expected.end(), rows.begin(), rows.end());
  CHECK(on.engine.features(Picture::combined({first, second})) == expected);
}

TEST_CASE("A chat that resumes a conversation goes on as the chat that had it, and keeps its own where that fails") {
  ManyQuestions many;
  ManyQuestions::On on(many.ctx, many.checkpoint.vlm, {.kv_tokens = 2048, .max_sequences = 2});
  const GenerationOptions options{.max_new_tokens = 6, .ignore_stop_ids = true};
  const std::vector<Picture> pictures{many.drawn(60, 1), many.drawn(90, 2)};
  Chat first(on.engine, many.processor, {.system = "Be brief."}), other(on.engine, many.processor);
  CHECK(first.ids().empty());
  const std::string said = first.ask_about({pictures[0]}, "What?", options);
  CHECK(said == many.processor.tokenizer().decode(first.ids()));
  first.ask_about({pictures[1]}, "And <image>?", options);
  other.ask("Something else.", {}, options);

  const auto resume = [&](std::vector<Turn> history, std::vector<Picture> shown) {
    return what_of<RequestError>([&] { other.resume("Be brief.", std::move(history), std::move(shown)); });
  };
  CHECK(contains(resume(first.history(), {pictures[0]}), "1 images, but 2 <image> marks"));
  CHECK(contains(resume({{std::string(9000, 'x'), "Y"}}, {}), "there is room for"));
  REQUIRE(other.history().size() == 1);
  CHECK(other.history()[0].question == "Something else.");
  CHECK(!other.system());

  CHECK(resume(first.history(), pictures) == "");
  CHECK(other.system() == "Be brief.");
  CHECK(other.ask("Which?", {}, options) == first.ask("Which?", {}, options));
  CHECK(other.statistics().prompt_tokens == first.statistics().prompt_tokens);
  CHECK(other.history().size() == 3);
}

}  // namespace
