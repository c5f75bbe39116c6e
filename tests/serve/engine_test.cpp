// Several sequences in one engine give what each gives alone; chats give what a fresh run gives; answers end where
// asked.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/drawn_answers.hpp"
#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/serve/chat.hpp"
#include "ivl/text/strip.hpp"
#include "ivl/text/utf8.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// A CPU whose logits can be seen, and told: it notes each row of them that a token is chosen from.
struct Spy : cpu::Context {
  Spy() : cpu::Context(2) {}
  std::vector<std::vector<float>> logits;  ///< as the model gave them, oldest first
  std::vector<int> script;                 ///< where not empty: these tokens, one a row, whatever the model says

  void note(std::span<float> row) {
    logits.emplace_back(row.begin(), row.end());
    if (logits.size() > script.size()) return;
    std::fill(row.begin(), row.end(), 0.0f);
    row[std::size_t(script[logits.size() - 1])] = 1;
  }
};

void argmax(Spy& spy, Rows<const float> logits, std::int32_t* ids) {
  for (std::int64_t r = 0; r < logits.count; ++r) {
    std::vector<float> row(logits[r], logits[r] + logits.stride);  // with those that may not be chosen
    spy.note(row);
    cpu::argmax(spy, Rows<const float>(row.data(), 1, logits.width()), ids + r);
  }
}

void draw(Spy& spy, const Draw* draws, Rows<float> logits, std::int32_t* ids) {
  for (std::int64_t r = 0; r < logits.count; ++r) spy.note({logits[r], std::size_t(logits.width())});
  cpu::draw(spy, draws, logits, ids);
}

/// Bit for bit; NaNs would be equal too, so those are refused.
bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t row = 0; row < a.size(); ++row) {
    for (const float value : a[row]) {
      if (!(std::abs(value) <= 1e6f)) return false;
    }
    if (a[row].size() != b[row].size() || std::memcmp(a[row].data(), b[row].data(), a[row].size() * sizeof(float)) != 0)
      return false;
  }
  return true;
}

/// A request of a test: its answer's text is wanted too.
struct Question {
  Prompt prompt;
  GenerationOptions options;
};

struct Answer {
  std::vector<std::int32_t> ids;
  std::vector<std::vector<float>> logits;
  std::string text, streamed;
  Finish finish = Finish::running;
};

Answer answer_of(const Sequence& sequence) { return {ids_of(sequence), {}, sequence.text(), "", sequence.finish()}; }

template <VlmConfig C, class Scalar>
using SpyEngine = RunnerAndEngine<C, Spy, Scalar>;

/// A question's sequence in an engine, and what came of it.
struct Running {
  std::shared_ptr<Sequence> sequence;
  Answer answer;
};

std::unique_ptr<Running> begin(Engine& engine, const Tokenizer& tokenizer, const Question& question) {
  auto running = std::make_unique<Running>();
  running->sequence =
      engine.start({.prompt = question.prompt,
                    .generation = question.options,
                    .tokenizer = &tokenizer,
                    .on_text = [answer = &running->answer](std::string_view piece) { answer->streamed += piece; }});
  return running;
}

/// One step; the logits go to the sequences that got a token, in the order in which they were started.
void step(Spy& spy, Engine& engine, std::span<const std::unique_ptr<Running>> all) {
  std::vector<std::pair<Running*, std::size_t>> before;
  for (const auto& running : all) {
    if (running->sequence && !running->sequence->done())
      before.emplace_back(running.get(), running->sequence->generated().size());
  }
  spy.logits.clear();
  engine.step();
  std::size_t next = 0;
  for (const auto& [running, tokens] : before) {
    const Sequence& sequence = *running->sequence;
    if (sequence.generated().size() > tokens || sequence.finish() == Finish::stop_token) {
      REQUIRE(next < spy.logits.size());
      running->answer.logits.push_back(spy.logits[next++]);
    }
    Answer now = answer_of(sequence);
    now.logits = std::move(running->answer.logits);
    now.streamed = std::move(running->answer.streamed);
    running->answer = std::move(now);
  }
  CHECK(next == spy.logits.size());
}

template <VlmConfig C, class Scalar>
Answer alone(Spy& spy, const Checkpoint<C>& checkpoint, const Question& question, int max_rows) {
  SpyEngine<C, Scalar> on(spy, checkpoint.vlm,
                          {.kv_tokens = checkpoint.vlm.facts.context_length, .max_rows = max_rows});
  std::vector<std::unique_ptr<Running>> all;
  all.push_back(begin(on.engine, checkpoint.processor.tokenizer(), question));
  while (!all[0]->sequence->done()) step(spy, on.engine, all);
  if (all[0]->sequence->error()) std::rethrow_exception(all[0]->sequence->error());
  return all[0]->answer;
}

void check_same(const Answer& found, const Answer& expected) {
  CHECK(found.ids == expected.ids);
  CHECK(same_bits(found.logits, expected.logits));
  CHECK(found.text == expected.text);
  CHECK(found.streamed == expected.text);
  CHECK(found.finish == expected.finish);
}

std::vector<std::int32_t> random_ids(std::mt19937& random, int number) {
  std::vector<std::int32_t> ids(std::size_t(number), 0);
  for (std::int32_t& id : ids) id = std::int32_t(random() % 280);
  return ids;
}

template <VlmConfig C, class Scalar>
void check_together(Spy& spy, const Checkpoint<C>& checkpoint, std::vector<int> lengths) {
  std::mt19937 random(7);
  std::vector<Question> questions;
  for (const int length : lengths) {
    Question question{{random_ids(random, length)},
                      {.max_new_tokens = 2 + int(random() % 12), .ignore_stop_ids = true}};
    if (questions.size() % 2 == 1)
      question.options.sampling = {.temperature = 0.8f, .top_k = 40, .repetition_penalty = 1.2f, .seed = random()};
    questions.push_back(question);
  }
  for (const std::size_t with_picture : {1, 2}) {  // different ones, of different sizes
    questions[with_picture].prompt.pictures = {
        {2, Picture(noise_picture(50, with_picture == 1 ? 50 : 90, std::uint32_t(with_picture)),
                    checkpoint.processor.tile_rules())}};
  }

  std::vector<Answer> expected;
  for (const Question& question : questions) expected.push_back(alone<C, Scalar>(spy, checkpoint, question, 512));
  // Chunks of the prompt and threads change nothing.
  for (std::size_t i = 0; i < questions.size(); ++i) {
    CAPTURE(i);
    check_same(alone<C, Scalar>(spy, checkpoint, questions[i], 1 + int(random() % 30)), expected[i]);
  }

  for (int round = 0; round < 6; ++round) {
    const int most = 2 + int(random() % 3), max_rows = most + int(random() % (round < 3 ? 8 : 100));
    CAPTURE(most);
    CAPTURE(max_rows);
    SpyEngine<C, Scalar> on(spy, checkpoint.vlm, {.kv_tokens = 2048, .max_sequences = most, .max_rows = max_rows});
    Engine& engine = on.engine;
    std::vector<std::size_t> order(questions.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    const std::size_t abandoned = order[1];  // its user goes away after a few steps
    const int patience = int(random() % 4);

    std::vector<std::unique_ptr<Running>> all;
    std::size_t next = 0, done = 0;
    int steps_of_abandoned = 0;
    while (done < questions.size()) {
      const auto live =
          std::count_if(all.begin(), all.end(), [](const auto& r) { return r->sequence && !r->sequence->done(); });
      if (next < questions.size() && live < most && (live == 0 || random() % 3 == 0)) {
        all.push_back(begin(engine, checkpoint.processor.tokenizer(), questions[order[next++]]));
        continue;
      }
      step(spy, engine, all);
      done = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (order[i] == abandoned && all[i]->sequence && steps_of_abandoned++ == patience) {
          engine.stop(*all[i]->sequence);
          all[i]->sequence.reset();
        }
        if (all[i]->sequence && all[i]->sequence->done()) all[i]->sequence.reset();
        done += all[i]->sequence == nullptr;
      }
    }
    for (const KvGroup group : all_kv_groups) CHECK(engine.pool().free(group) == engine.pool().count(group));
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(order[i]);
      if (order[i] != abandoned) check_same(all[i]->answer, expected[order[i]]);
    }
  }
}

TEST_CASE("Sequences that share an engine give bit for bit what each gives alone") {
  Spy spy;
  const auto plain = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SUBCASE("float") { check_together<qwen3_tiny, float>(spy, plain, {1, 63, 7, 64, 65, 200}); }
  SUBCASE("bf16") { check_together<qwen3_tiny, bf16>(spy, plain, {1, 63, 7, 64, 65, 200}); }
  // Some of these pass the 64 tokens behind which the rotation changes with a sequence's own length.
  const auto dynamic = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "github"));
  SUBCASE("float, dynamic NTK") { check_together<qwen2_dynamic, float>(spy, dynamic, {5, 60, 30, 70, 110}); }
  SUBCASE("bf16, dynamic NTK") { check_together<qwen2_dynamic, bf16>(spy, dynamic, {5, 60, 30, 70, 110}); }
  // Rings of one page in small steps, which 200 tokens go round and round.
  const auto gpt_oss = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  SUBCASE("bf16, experts and windows") { check_together<gpt_oss_tiny, bf16>(spy, gpt_oss, {5, 60, 30, 200, 110}); }
}

// ---- chats -------------------------------------------------------------------------------------------------------

/// The answer to the last of some turns, by an engine that never saw the earlier ones.
template <VlmConfig C, class Scalar>
Answer fresh(Spy& spy, const Checkpoint<C>& checkpoint, std::span<const Turn> history, std::string_view question,
             std::span<const Image> images, GenerationOptions options) {
  std::vector<Picture> pictures;
  for (const Image& image : images) pictures.push_back(Picture(image, checkpoint.processor.tile_rules()));
  if (options.stop_ids.empty()) options.stop_ids = checkpoint.processor.stop_ids();
  return alone<C, Scalar>(spy, checkpoint, {checkpoint.processor.prompt({}, history, question, pictures), options},
                          512);
}

/// A chat on a runner of its own.
template <VlmConfig C, class Scalar>
struct SpyChat {
  Runner<C, Spy, Scalar> runner;
  Chat chat;
  SpyChat(Spy& spy, const Checkpoint<C>& checkpoint, const ChatOptions& options)
      : runner(spy, checkpoint.vlm), chat(runner, checkpoint.processor, options) {}
};

/// Says and shows things to one chat and, each time, to a fresh engine.
template <VlmConfig C, class Scalar>
struct Conversation {
  Spy& spy;
  const Checkpoint<C>& checkpoint;
  SpyChat<C, Scalar> on{spy, checkpoint, {.kv_tokens = 1024}};
  Chat& chat = on.chat;
  std::vector<Image> pictures = {};

  /// `marked`: the question as it should stand in the prompt.
  void ask(std::string_view question, std::vector<Image> new_pictures, std::string_view marked,
           int max_new_tokens = 12) {
    CAPTURE(question);
    const GenerationOptions options{.max_new_tokens = max_new_tokens};
    const std::vector<Turn> history = chat.history();
    spy.logits.clear();
    std::string streamed;
    const std::string text =
        chat.ask(question, new_pictures, options, [&](std::string_view piece) { streamed += piece; });
    const auto logits = spy.logits;
    pictures.insert(pictures.end(), new_pictures.begin(), new_pictures.end());

    const Answer expected = fresh<C, Scalar>(spy, checkpoint, history, marked, pictures, options);
    const bool is_hf = checkpoint.processor.style() == PromptStyle::hf;
    CHECK(text == (is_hf ? expected.text : std::string(strip(expected.text))));
    CHECK(streamed == expected.text);
    CHECK(same_bits(logits, expected.logits));
    REQUIRE(chat.history().size() == history.size() + 1);
    CHECK(chat.history().back().question == marked);
    CHECK(chat.history().back().answer == text);
  }
};

template <class Scalar>
void check_turns(std::string_view format, std::string_view two_marks) {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", format));
  Conversation<qwen3_tiny, Scalar> talk{spy, checkpoint};
  talk.ask("Hello, who are you?", {}, "Hello, who are you?");
  CHECK(talk.chat.statistics().cached_tokens == 0);
  const int first_prompt = talk.chat.statistics().prompt_tokens;

  talk.ask("What is this?", {noise_picture(90, 40, 2)}, "<image>\nWhat is this?");
  CHECK(talk.chat.statistics().cached_tokens >= first_prompt - 1);  // the answer may merge with the last prompt token
  CHECK(talk.chat.statistics().tiles > 0);

  talk.ask("And compare <image> with it.", {noise_picture(30, 30, 3)}, "And compare <image> with it.");
  talk.ask("Both", {noise_picture(31, 30, 4), noise_picture(60, 20, 5)}, std::string(two_marks) + "Both");
  const int earlier_tokens = talk.chat.statistics().prompt_tokens;
  talk.ask("Thanks.", {}, "Thanks.");
  CHECK(talk.chat.statistics().tiles == 0);
  // Tokens of the answer may be others in the next prompt, and of a page that is full all have to be the same.
  CHECK(talk.chat.statistics().cached_tokens >= (earlier_tokens - 1) / kv_page_tokens * kv_page_tokens);
}

TEST_CASE("Every turn of a chat is the answer of a fresh run over the same history, pictures in later turns too") {
  SUBCASE("float, HF format") { check_turns<float>("hf", "<image>\n<image>\n"); }
  SUBCASE("bf16, GitHub format") { check_turns<bf16>("github", "Image-1: <image>\nImage-2: <image>\n"); }
}

TEST_CASE("A chat that passes the context of dynamic NTK is a fresh run too") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  Conversation<qwen2_dynamic, float> talk{spy, checkpoint};
  talk.ask("Hi", {}, "Hi", 10);
  CHECK(talk.chat.statistics().prompt_tokens < 40);
  talk.ask("Go on.", {}, "Go on.", 10);
  CHECK(talk.chat.statistics().cached_tokens > 0);
  talk.ask("More?", {}, "More?", 6);
  CHECK(talk.chat.statistics().prompt_tokens > 64);
  CHECK(talk.chat.statistics().cached_tokens == 0);
}

/// One question's answer, and its sequence.
struct Finished {
  Answer answer;
  int taken_over = 0;  ///< tokens of the prompt that were known from earlier questions
  std::shared_ptr<Sequence> sequence;
};

/// Runs one question, alone in an engine that others may have used before.
Finished finished(Spy& spy, Engine& engine, const Tokenizer& tokenizer, const Question& question) {
  spy.logits.clear();
  const auto running = begin(engine, tokenizer, question);
  for (int steps = 0; steps < 1000 && engine.step();) ++steps;
  Finished result{answer_of(*running->sequence), running->sequence->statistics().cached_tokens, running->sequence};
  result.answer.logits = spy.logits;
  result.answer.streamed = running->answer.streamed;
  return result;
}

/// The first tokens of a sequence, and another one behind.
std::vector<std::int32_t> first_of(const Sequence& sequence, int kept) {
  std::vector<std::int32_t> ids(sequence.tokens().begin(), sequence.tokens().begin() + kept);
  ids.push_back(kept < sequence.length() ? (sequence.tokens()[std::size_t(kept)] + 1) % 280 : 1);
  return ids;
}

/// How much of a sequence of `cached` tokens another one uses that begins with `kept` of them: full pages, or all up to
/// a place in the page that is not full.
int usable(int kept, int cached) {
  const int common = std::min(kept, cached);
  return common >= cached / kv_page_tokens * kv_page_tokens ? common : common / kv_page_tokens * kv_page_tokens;
}

TEST_CASE("What a sequence takes over of an earlier one changes its time, not its answer") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(3);
  for (const int length : {1, 5, 63, 64, 65, 130}) {
    CAPTURE(length);
    for (const int kept : {length + 7, length + 3, length, length / 2, 0}) {
      CAPTURE(kept);
      SpyEngine<qwen3_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 512, .max_rows = 48});
      const Finished earlier = finished(spy, on.engine, tokenizer,
                                        {{random_ids(random, length)}, {.max_new_tokens = 7, .ignore_stop_ids = true}});
      const int cached = length + 6;  // the last token was never fed
      CHECK(earlier.sequence->length() == cached + 1);
      Question question{{first_of(*earlier.sequence, kept)}, {.max_new_tokens = 5, .ignore_stop_ids = true}};
      for (const std::int32_t id : random_ids(random, 9)) question.prompt.ids.push_back(id);
      const Finished later = finished(spy, on.engine, tokenizer, question);
      CHECK(later.taken_over == usable(kept, cached));
      check_same(later.answer, alone<qwen3_tiny, bf16>(spy, checkpoint, question, 512));
      // The earlier one's full pages are as they were.
      const auto tokens = earlier.sequence->tokens();
      const Question again{{{tokens.begin(), tokens.end()}}, {.max_new_tokens = 3, .ignore_stop_ids = true}};
      const Finished more = finished(spy, on.engine, tokenizer, again);
      CHECK(more.taken_over >= cached / kv_page_tokens * kv_page_tokens);
      check_same(more.answer, alone<qwen3_tiny, bf16>(spy, checkpoint, again, 512));
    }
  }
}

TEST_CASE("Sequences that run together share the pages of what both begin with") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(43);
  SpyEngine<gpt_oss_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 512, .max_sequences = 3, .max_rows = 200});
  const Question first{{random_ids(random, 130)}, {.max_new_tokens = 20, .ignore_stop_ids = true}};
  std::vector<std::unique_ptr<Running>> all;
  all.push_back(begin(on.engine, tokenizer, first));
  step(spy, on.engine, all);
  std::vector<Question> questions{first};
  const int used = on.engine.pool().count(KvGroup::full) - on.engine.pool().free(KvGroup::full);
  for (int n = 0; n < 2; ++n) {
    questions.push_back(first);
    questions.back().prompt.ids.push_back(n + 1);
    all.push_back(begin(on.engine, tokenizer, questions.back()));
  }
  step(spy, on.engine, all);
  for (int n = 1; n <= 2; ++n) CHECK(all[std::size_t(n)]->sequence->statistics().cached_tokens == 128);
  // Three pages each, of which two are the first one's.
  CHECK(on.engine.pool().count(KvGroup::full) - on.engine.pool().free(KvGroup::full) == used + 2);
  for (int steps = 0; steps < 40; ++steps) step(spy, on.engine, all);
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    check_same(all[i]->answer, alone<gpt_oss_tiny, bf16>(spy, checkpoint, questions[i], 512));
  }
}

TEST_CASE("With windows a sequence takes over what its pages still hold, and else begins anew") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(23);
  SpyEngine<gpt_oss_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 448, .max_rows = 48});  // seven pages
  const auto run = [&](std::vector<std::int32_t> ids) {
    const Question question{{std::move(ids)}, {.max_new_tokens = 7, .ignore_stop_ids = true}};
    Finished result = finished(spy, on.engine, tokenizer, question);
    check_same(result.answer, alone<gpt_oss_tiny, bf16>(spy, checkpoint, question, 512));
    return result;
  };
  for (const int kept : {206, 157, 100, 60, 1}) {
    CAPTURE(kept);
    const Finished earlier = run(random_ids(random, 200));
    CHECK(run(first_of(*earlier.sequence, kept)).taken_over == usable(kept, 206));
  }
  // What a third question needs is taken from the one that ended first: all of its window's pages.
  const Finished ended = run(random_ids(random, 100)), other = run(random_ids(random, 100));
  run(random_ids(random, 240));
  CHECK(run(first_of(*other.sequence, 106)).taken_over == 106);
  CHECK(run(first_of(*ended.sequence, 106)).taken_over == 0);
}

TEST_CASE("With windows, pages of the layers that see all are of no use without those of the others") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  std::mt19937 random(47);
  // A window of 16 takes three pages beside 48 rows of a step; the pool has six.
  SpyEngine<gpt_oss_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 2048, .max_rows = 48});
  const auto run = [&](std::vector<std::int32_t> ids) {
    const Question question{{std::move(ids)}, {.max_new_tokens = 2, .ignore_stop_ids = true}};
    Finished result = finished(spy, on.engine, checkpoint.processor.tokenizer(), question);
    check_same(result.answer, alone<gpt_oss_tiny, bf16>(spy, checkpoint, question, 512));
    return result;
  };
  const Finished first = run(random_ids(random, 240));
  run(random_ids(random, 240));
  const Finished last = run(random_ids(random, 240));
  CHECK(run(first_of(*last.sequence, 200)).taken_over == 200);
  CHECK(run(first_of(*first.sequence, 200)).taken_over == 0);
}

TEST_CASE("The same prompt again gives the same answer, whatever of it is known already") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(29);
  SpyEngine<qwen3_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 256});
  for (const int length : {1, 5, 64, 65}) {
    CAPTURE(length);
    const Question question{{random_ids(random, length)}, {.max_new_tokens = 6, .ignore_stop_ids = true}};
    const Finished first = finished(spy, on.engine, tokenizer, question);
    REQUIRE(first.answer.ids.size() == 6);
    const Finished second = finished(spy, on.engine, tokenizer, question);
    // The last token has to run for its logits, and with it a page that it fills.
    CHECK(second.taken_over == (length == 64 ? 0 : length - 1));
    check_same(second.answer, first.answer);
  }
}

TEST_CASE("With windows and room for two, of three conversations the one before the last is kept") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(31);
  const auto any = [&](int length) {
    return Question{{random_ids(random, length)}, {.max_new_tokens = 7, .ignore_stop_ids = true}};
  };
  const Question a = any(40), b = any(33), c = any(37);
  for (const bool third : {true, false}) {
    CAPTURE(third);
    SpyEngine<gpt_oss_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 512, .max_sequences = 2, .max_rows = 48});
    const auto run = [&](const Question& question) {
      Finished result = finished(spy, on.engine, tokenizer, question);
      check_same(result.answer, alone<gpt_oss_tiny, bf16>(spy, checkpoint, question, 512));
      return result;
    };
    run(a);
    const Finished of_b = run(b);
    if (third) run(c);
    const Question more_of_b{{first_of(*of_b.sequence, of_b.sequence->length())}, a.options};
    CHECK(run(more_of_b).taken_over >= 33);
  }
}

TEST_CASE("Sequences whose tokens are as many as there is room for fit together, wherever each ends") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(37);
  const GenerationOptions four{.max_new_tokens = 4, .ignore_stop_ids = true};
  const Question questions[] = {{{random_ids(random, 61)}, four}, {{random_ids(random, 59)}, four}};  // 65 of 128
  SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 128, .max_sequences = 2});
  std::vector<std::unique_ptr<Running>> all;
  for (const Question& question : questions)
    all.push_back(begin(on.engine, checkpoint.processor.tokenizer(), question));
  for (int steps = 0; steps < 4; ++steps) step(spy, on.engine, all);  // both end in these, so they run together
  for (std::size_t i = 0; i < 2; ++i)
    check_same(all[i]->answer, alone<qwen3_tiny, float>(spy, checkpoint, questions[i], 512));
}

TEST_CASE("Sequences with tokenizers of different sizes share an engine, and each keeps to its own ids") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer &large = checkpoint.processor.tokenizer(),
                  small = Tokenizer::from_folder(tiny_folder("gpt_oss_tiny", "hf"));
  const int last = large.size() - 1;
  REQUIRE(small.size() <= last);
  for (const bool small_first : {true, false}) {
    CAPTURE(small_first);
    SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 128, .max_sequences = 2});
    spy.logits.clear();
    spy.script.assign(100, last);  // what the head wants, be there such an id or not
    std::vector<std::shared_ptr<Sequence>> sequences;
    for (const bool is_small : {small_first, !small_first})
      sequences.push_back(on.engine.start({.prompt = {{1, 2, 3}},
                                           .generation = {.max_new_tokens = 4, .ignore_stop_ids = true},
                                           .tokenizer = is_small ? &small : &large}));
    on.engine.run();
    spy.script.clear();
    CHECK(ids_of(*sequences[small_first ? 1 : 0]) == std::vector(4, last));
    CHECK(ids_of(*sequences[small_first ? 0 : 1]) == std::vector(4, 0));  // the first of equals
  }
}

/// Each epsilon changes what is its own, and nothing else.
template <VlmConfig C>
void check_epsilons(std::string_view name) {
  CAPTURE(name);
  Spy spy;
  auto checkpoint = load<C>(spy, tiny_folder(name, "hf"));
  std::mt19937 random(41);
  const Question question{{random_ids(random, 9)}, {.max_new_tokens = 2, .ignore_stop_ids = true}};
  const Picture picture(noise_picture(56, 56, 9), checkpoint.processor.tile_rules());
  const auto logits = [&] { return alone<C, float>(spy, checkpoint, question, 512).logits[0]; };
  const auto picture_rows = [&] {
    return to_floats(spy, VisionEncoder<C, Spy, float>(spy, checkpoint.vlm)(picture).view()).values;
  };
  const auto logits_before = logits();
  const auto rows_before = picture_rows();
  float& vision = checkpoint.vlm.facts.vision_norm_eps;
  float& language = checkpoint.vlm.facts.language_norm_eps;
  const auto vision_before = std::exchange(vision, 0.5f);
  CHECK(logits() == logits_before);
  CHECK(picture_rows() != rows_before);
  vision = vision_before;
  language = 0.5f;
  CHECK(logits() != logits_before);
  CHECK(picture_rows() == rows_before);
}

TEST_CASE("The tower's epsilon is not the decoder's, in any of their norms") {
  check_epsilons<qwen3_tiny>("qwen3_tiny");
  check_epsilons<vit6b_qwen3>("vit6b_qwen3");
}

/// A CPU that knows how much was asked for.
struct Measured : cpu::Context {
  Measured() : cpu::Context(1) {}
  std::size_t allocated = 0;
};
Memory allocate(Measured& ctx, std::size_t bytes) {
  ctx.allocated += bytes;
  return cpu::allocate(ctx, bytes);
}

TEST_CASE("Longer conversations cost memory only in layers without a window") {
  Measured ctx;
  const auto checkpoint = load<gpt_oss_tiny>(ctx, tiny_folder("gpt_oss_tiny", "hf"));
  const auto bytes_of = [&](int kv_tokens) {
    ctx.allocated = 0;
    const RunnerAndEngine<gpt_oss_tiny, Measured, bf16> on(
        ctx, checkpoint.vlm, {.kv_tokens = kv_tokens, .max_sequences = 2, .max_rows = 48});
    return std::int64_t(ctx.allocated);
  };
  const std::int64_t page_bytes =
      kv_page_bytes(ctx, DecoderBlock<gpt_oss_tiny.decoder>::attention_shape, ScalarKind::bf16, kv_page_tokens);
  // One layer of three, and the page numbers of both sequences in both groups.
  constexpr int more_pages = 64;
  CHECK(bytes_of(8192) - bytes_of(4096) == more_pages * (page_bytes + 4 * std::int64_t(sizeof(std::int32_t))));
}

TEST_CASE("A prompt within the context takes nothing over from one beyond it, whose keys turned otherwise") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  std::mt19937 random(5);
  SpyEngine<qwen2_dynamic, float> on(spy, checkpoint.vlm, {.kv_tokens = 256});
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  const Finished earlier =
      finished(spy, on.engine, tokenizer, {{random_ids(random, 100)}, {.max_new_tokens = 2, .ignore_stop_ids = true}});
  const auto tokens = earlier.sequence->tokens();
  const Question question{{{tokens.begin(), tokens.begin() + 40}}, {.max_new_tokens = 4, .ignore_stop_ids = true}};
  const Finished later = finished(spy, on.engine, tokenizer, question);
  CHECK(later.taken_over == 0);
  check_same(later.answer, alone<qwen2_dynamic, float>(spy, checkpoint, question, 512));
}

TEST_CASE("A chat goes on after a callback that threw, as if the question had not been asked") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  Conversation<qwen3_tiny, bf16> talk{spy, checkpoint};
  talk.ask("Hello", {}, "Hello");
  const auto history = talk.chat.history();
  const auto leave = [](std::string_view) { throw std::runtime_error("the user has left"); };
  const Image first = noise_picture(56, 56, 6), other = noise_picture(56, 56, 7);
  CHECK(what_of<std::runtime_error>(
            [&] { talk.chat.ask("What is this?", {{first}}, {.max_new_tokens = 12}, leave); }) == "the user has left");
  CHECK(talk.chat.history().size() == history.size());
  // The same words about another picture: nothing of the first may remain.
  talk.ask("What is this?", {other}, "<image>\nWhat is this?");
  CHECK(contains(what_of<RequestError>([&] { talk.chat.ask(std::string(1100, 'x'), {}); }),
                 "but the engine has room for 1024"));
  talk.ask("And now?", {}, "And now?");
}

TEST_CASE("A callback that throws ends its own sequence and does not disturb the others of its step") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(11);
  const Question questions[] = {{{random_ids(random, 9)}, {.max_new_tokens = 6, .ignore_stop_ids = true}},
                                {{random_ids(random, 4)}, {.max_new_tokens = 9, .ignore_stop_ids = true}}};
  const Answer expected = alone<qwen3_tiny, float>(spy, checkpoint, questions[1], 512);

  SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 256, .max_sequences = 2});
  const auto thrower = [](std::string_view) { throw std::runtime_error("no"); };
  const auto first = on.engine.start(
      {.prompt = questions[0].prompt, .generation = questions[0].options, .tokenizer = &tokenizer, .on_text = thrower});
  const auto second = begin(on.engine, tokenizer, questions[1]);
  on.engine.run();
  CHECK(first->finish() == Finish::error);
  CHECK(what_of<std::runtime_error>([&] { std::rethrow_exception(first->error()); }) == "no");
  CHECK(second->sequence->finish() == Finish::length);
  CHECK(ids_of(*second->sequence) == expected.ids);
  CHECK(second->answer.streamed == expected.text);
}

TEST_CASE("More requests than fit wait their turn, first come first served, and each says what it says alone") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(47);
  std::vector<Question> questions;
  for (int n = 0; n < 7; ++n)
    questions.push_back({{random_ids(random, 20 + 25 * n)}, {.max_new_tokens = 3 + n, .ignore_stop_ids = true}});
  SpyEngine<qwen3_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 256, .max_sequences = 2, .max_rows = 40});
  std::vector<std::unique_ptr<Running>> all;
  for (const Question& question : questions)
    all.push_back(begin(on.engine, checkpoint.processor.tokenizer(), question));
  std::vector<std::size_t> order;  // in which they get their first token
  for (bool more = true; more;) {
    more = on.engine.step();
    for (std::size_t n = 0; n < all.size(); ++n) {
      if (!all[n]->sequence->generated().empty() && std::find(order.begin(), order.end(), n) == order.end())
        order.push_back(n);
    }
  }
  CHECK(std::is_sorted(order.begin(), order.end()));
  for (std::size_t n = 0; n < all.size(); ++n) {
    CAPTURE(n);
    CHECK(ids_of(*all[n]->sequence) == alone<qwen3_tiny, bf16>(spy, checkpoint, questions[n], 512).ids);
  }
}

TEST_CASE("A picture is seen once, by whichever requests it is in, and a request that waits can be taken back") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Processor& processor = checkpoint.processor;
  const Tokenizer& tokenizer = processor.tokenizer();
  SpyEngine<qwen3_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 256, .max_rows = 32});
  const Picture picture(noise_picture(90, 40, 1), processor.tile_rules()),
      copy(noise_picture(90, 40, 1), processor.tile_rules()), other(noise_picture(90, 40, 2), processor.tile_rules()),
      fewer(noise_picture(90, 40, 1), processor.tile_rules(1));
  const auto about = [&](const Picture& shown) {
    return Question{{{1, 2, 3}, {{1, shown}}}, {.max_new_tokens = 4, .ignore_stop_ids = true}};
  };
  const auto tiles = [&](const Picture& shown) {
    const Finished result = finished(spy, on.engine, tokenizer, about(shown));
    check_same(result.answer, alone<qwen3_tiny, bf16>(spy, checkpoint, about(shown), 512));
    return result.sequence->statistics().tiles;
  };
  CHECK(tiles(picture) == picture.tiles());
  CHECK(tiles(copy) == 0);
  CHECK(tiles(other) == other.tiles());
  CHECK(tiles(fewer) == 1);
  CHECK(tiles(picture) == 0);

  const auto running = begin(on.engine, tokenizer, about(picture)), waiting = begin(on.engine, tokenizer, about(other));
  on.engine.step();
  CHECK(waiting->sequence->finish() == Finish::waiting);
  on.engine.stop(*waiting->sequence);
  CHECK(waiting->sequence->finish() == Finish::cancelled);
  on.engine.run();
  CHECK(running->sequence->finish() == Finish::length);
  CHECK(waiting->sequence->generated().empty());
}

// ---- how answers end -----------------------------------------------------------------------------------------------

TEST_CASE("An answer ends at a stop id, after max_new_tokens, or where the context ends") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  std::mt19937 random(13);
  const Question request{{random_ids(random, 20)}, {.max_new_tokens = 24, .ignore_stop_ids = true}};
  const Answer free = alone<qwen2_dynamic, float>(spy, checkpoint, request, 512);
  CHECK(free.finish == Finish::length);
  CHECK(free.ids.size() == 24);

  Question stopped = request;
  stopped.options.ignore_stop_ids = false;
  stopped.options.stop_ids = {5000, free.ids[9]};
  const Answer until = alone<qwen2_dynamic, float>(spy, checkpoint, stopped, 512);
  const auto end = std::find(free.ids.begin(), free.ids.end(), free.ids[9]);
  CHECK(until.ids == std::vector(free.ids.begin(), end));
  CHECK(until.finish == Finish::stop_token);

  Question one = request;
  one.options.max_new_tokens = 1;
  CHECK(alone<qwen2_dynamic, float>(spy, checkpoint, one, 512).ids == std::vector{free.ids[0]});

  for (const int length : {120, 127}) {
    const Question full{{random_ids(random, length)}, {.max_new_tokens = 1000, .ignore_stop_ids = true}};
    const Answer last = alone<qwen2_dynamic, float>(spy, checkpoint, full, 512);
    CHECK(int(last.ids.size()) == 128 - length);
    CHECK(last.finish == Finish::length);
  }
}

/// What the model would say if it were told to say `text`, each byte a token, then `<|im_end|>`.
Answer told(Spy& spy, const Checkpoint<qwen3_tiny>& checkpoint, std::string_view text,
            std::vector<std::string> stop_strings, std::vector<std::string>& pieces, int max_new_tokens = 100) {
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  const int end = *tokenizer.id_of("<|im_end|>");
  std::vector<int> script;
  for (const char byte : text) script.push_back(*tokenizer.id_of(std::string(1, byte)));
  script.push_back(end);
  SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 256});
  spy.logits.clear();
  spy.script = script;
  pieces.clear();
  const auto sequence =
      run(on.engine,
          {.prompt = {{1, 2, 3}},
           .generation = {.max_new_tokens = max_new_tokens, .stop_ids = {end}, .stop_strings = std::move(stop_strings)},
           .tokenizer = &tokenizer,
           .on_text = [&](std::string_view piece) { pieces.emplace_back(piece); }});
  spy.script.clear();
  return answer_of(*sequence);
}

TEST_CASE("Streamed pieces are whole characters, hold nothing of a stop string, and make the answer") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::vector<std::string> pieces;
  const auto joined = [&] {
    std::string all;
    for (const std::string& piece : pieces) all += piece;
    return all;
  };
  const std::string_view text =
      "One, two, three \xe4\xb8\x87\xf0\x9f\x98\x80 four";  // the characters are several tokens
  const Answer whole = told(spy, checkpoint, text, {}, pieces);
  CHECK(whole.text == text);
  CHECK(joined() == text);
  CHECK(whole.finish == Finish::stop_token);
  CHECK(whole.ids.size() == text.size());  // the stop token is not among them
  CHECK(pieces.size() == text.size() - 5);
  for (const std::string& piece : pieces) CHECK(is_utf8(piece));

  const Answer cut = told(spy, checkpoint, text, {"never", "three"}, pieces);
  CHECK(cut.text == "One, two, ");
  CHECK(joined() == cut.text);
  CHECK(cut.finish == Finish::stop_string);
  CHECK(cut.ids.size() == std::string_view("One, two, three").size());

  // "th" might have become "the": it comes when it is certain, or at the end.
  CHECK(told(spy, checkpoint, "with th", {"the"}, pieces).text == "with th");
  CHECK(joined() == "with th");
  CHECK(pieces.back() == "th");
  const Answer at_limit = told(spy, checkpoint, "with the", {"the"}, pieces, 7);
  CHECK(at_limit.text == "with th");
  CHECK(joined() == "with th");
  CHECK(at_limit.finish == Finish::length);
  // The last token that is allowed completes the stop string.
  CHECK(told(spy, checkpoint, "with the", {"the"}, pieces, 8).finish == Finish::stop_string);
  CHECK(joined() == "with ");
  // Half a character at the end.
  CHECK(told(spy, checkpoint, "ab\xe4\xb8\x87", {}, pieces, 4).text == "ab\uFFFD");
  CHECK(joined() == "ab\uFFFD");
}

TEST_CASE("A stop string that only the end of the answer completes is why it ended") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::vector<std::string> pieces;
  // Half a character becomes U+FFFD when nothing follows.
  const Answer answer = told(spy, checkpoint, "\xe4", {"\uFFFD"}, pieces, 1);
  CHECK(answer.finish == Finish::stop_string);
  CHECK(answer.text == "");
  CHECK(pieces.empty());
}

// ---- what a chat adds --------------------------------------------------------------------------------------------

TEST_CASE("An answer without an end fills a chat's room to the last token") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 192});
  Chat& chat = on.chat;
  chat.ask("Hello", {}, {.max_new_tokens = 1000, .stop_ids = {5000}});  // there is no such id
  CHECK(chat.statistics().prompt_tokens < 150);
  CHECK(chat.statistics().prompt_tokens + chat.statistics().new_tokens == 192);
}

TEST_CASE("A caller's stop ids take the place of the checkpoint's") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 256});
  Chat& chat = on.chat;
  std::vector<int> all;
  for (int id = 0; id < checkpoint.vlm.facts.vocab_rows; ++id) all.push_back(id);
  CHECK(chat.ask("Hello", {}, {.max_new_tokens = 8, .stop_ids = all}) == "");
  CHECK(chat.statistics().new_tokens == 0);
  // And the checkpoint's own no longer end an answer.
  const int end = checkpoint.processor.stop_ids().at(0);
  spy.logits.clear();
  spy.script.assign(8, end);
  chat.ask("Hello", {}, {.max_new_tokens = 8, .stop_ids = {5000}});
  CHECK(chat.statistics().new_tokens == 8);
  spy.logits.clear();
  chat.ask("Hello", {}, {.max_new_tokens = 8});
  CHECK(chat.statistics().new_tokens == 0);
}

/// What a chat makes of an answer of these tokens.
template <VlmConfig C>
std::string chat_told(std::string_view name, const std::vector<std::string>& tokens) {
  Spy spy;
  const auto checkpoint = load<C>(spy, tiny_folder(name, "hf"));
  SpyChat<C, bf16> on(spy, checkpoint, {.kv_tokens = 256});
  Chat& chat = on.chat;
  for (const std::string& token : tokens) spy.script.push_back(checkpoint.processor.tokenizer().id_of(token).value());
  spy.script.push_back(checkpoint.processor.stop_ids().at(0));
  const std::string text = chat.ask("Hi", {}, {.max_new_tokens = int(tokens.size()) + 1});
  CHECK(chat.statistics().new_tokens == int(tokens.size()));
  CHECK(chat.history().back().answer == text);
  return text;
}

TEST_CASE("A chat keeps the special tokens of gpt-oss's answers, which are its channels, and skips those of others") {
  CHECK(chat_told<gpt_oss_tiny>("gpt_oss_tiny", {"<|channel|>", "a", "<|message|>", "b"}) ==
        "<|channel|>a<|message|>b");
  CHECK(chat_told<qwen3_tiny>("qwen3_tiny", {"<|im_start|>", "a", "<ref>", "b"}) == "ab");
}

TEST_CASE("A caller's word on special tokens counts in gpt-oss's style too") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "hf"));
  SpyChat<gpt_oss_tiny, bf16> on(spy, checkpoint, {.kv_tokens = 256});
  for (const char* token : {"<|channel|>", "a", "<|message|>", "b", "<|return|>"})
    spy.script.push_back(checkpoint.processor.tokenizer().id_of(token).value());
  CHECK(on.chat.ask("Hi", {}, {.max_new_tokens = 8, .special_tokens = SpecialTokens::skip}) == "ab");
}

TEST_CASE("An answer is returned and kept without white space at its ends, as the reference's chat() does") {
  for (const char* format : {"github", "hf"}) {
    CAPTURE(format);
    Spy spy;
    const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", format));
    const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
    SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 256});
    spy.script = tokenizer.encode(" \n a b \n");
    const int tokens = int(spy.script.size());
    spy.script.push_back(checkpoint.processor.stop_ids().at(0));
    std::string streamed;
    const std::string text =
        on.chat.ask("Hi", {}, {.max_new_tokens = tokens + 1}, [&](std::string_view piece) { streamed += piece; });
    CHECK(streamed == " \n a b \n");
    CHECK(text == (checkpoint.processor.style() == PromptStyle::hf ? streamed : "a b"));
    CHECK(on.chat.history().back().answer == text);
  }
}

// ---- sampling in the engine
// ------------------------------------------------------------------------------------------

TEST_CASE("A seed decides an answer, and a temperature of almost nothing, top_k = 1 or a tiny top_p is greedy") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(17);
  Question request{{random_ids(random, 12)}, {.max_new_tokens = 30, .ignore_stop_ids = true}};
  const auto ids = [&](SamplingOptions sampling) {
    request.options.sampling = sampling;
    return alone<qwen3_tiny, float>(spy, checkpoint, request, 512).ids;
  };
  const auto greedy = ids({});
  CHECK(ids({.temperature = 1e-4f, .seed = 1}) == greedy);
  CHECK(ids({.temperature = 1e-30f, .seed = 2}) == greedy);
  CHECK(ids({.temperature = 1e-45f, .seed = 3}) == greedy);  // the smallest float
  CHECK(ids({.temperature = 5, .top_k = 1, .seed = 4}) == greedy);
  CHECK(ids({.temperature = 5, .top_p = 1e-6f, .seed = 5}) == greedy);
  CHECK(ids({.temperature = 5, .min_p = 1, .seed = 6}) == greedy);
  const auto drawn = ids({.temperature = 2, .top_k = 0, .seed = 7});
  CHECK(drawn != greedy);
  CHECK(ids({.temperature = 2, .top_k = 0, .seed = 7}) == drawn);
  CHECK(ids({.temperature = 2, .top_k = 0, .seed = 8}) != drawn);
}

TEST_CASE("What a seed draws is pinned, beside other sequences and with every setting") {
  Spy spy;
  check_drawn_answers(spy, load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf")));
}

TEST_CASE("The repetition penalty counts the prompt and every token so far") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(19);
  Question request{{random_ids(random, 60)}, {.max_new_tokens = 30, .ignore_stop_ids = true}};
  const auto unpenalised = alone<qwen3_tiny, float>(spy, checkpoint, request, 512).ids;
  request.options.sampling.repetition_penalty = 1.5f;
  const Answer answer = alone<qwen3_tiny, float>(spy, checkpoint, request, 512);
  CHECK(answer.ids != unpenalised);
  std::vector<std::int32_t> seen = request.prompt.ids;
  for (std::size_t i = 0; i < answer.ids.size(); ++i) {
    std::vector<float> logits = answer.logits[i];
    logits.resize(std::size_t(checkpoint.processor.tokenizer().size()));
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const std::int32_t id : seen) {
      float& logit = logits[std::size_t(id)];
      logit = logit > 0 ? logit / 1.5f : logit * 1.5f;
    }
    CHECK(answer.ids[i] == int(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    seen.push_back(answer.ids[i]);
  }
}

TEST_CASE("Rows of the head behind the tokenizer's last id are never drawn") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const int known = checkpoint.processor.tokenizer().size();
  REQUIRE(known < checkpoint.vlm.facts.vocab_rows);
  for (const SamplingOptions& sampling : {SamplingOptions{},
                                          {.temperature = 1e6f, .top_k = 0, .seed = 3},
                                          {.temperature = 1e6f, .top_k = 0, .repetition_penalty = 2, .seed = 4}}) {
    // The head is told to want nothing but its last row.
    SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 1024});
    spy.logits.clear();
    spy.script.assign(500, checkpoint.vlm.facts.vocab_rows - 1);
    // Such an id may stand in a prompt, and the penalty knows nothing of it.
    const auto sequence =
        run(on.engine, {.prompt = {{1, checkpoint.vlm.facts.vocab_rows - 1}},
                        .generation = {.max_new_tokens = 500, .sampling = sampling, .ignore_stop_ids = true},
                        .tokenizer = &checkpoint.processor.tokenizer()});
    int largest = 0;
    for (const std::int32_t id : sequence->generated()) largest = std::max(largest, id);
    CHECK(largest < known);
    if (sampling.temperature)
      CHECK(largest > 200);  // almost uniform over the others: 1 in 10^90 that none is above 200
    spy.script.clear();
  }
}

// ---- what a researcher may take out and put in --------------------------------------------------------------------

TEST_CASE("Own choices, masks and the logits of a prompt: what the model makes itself, if nothing is changed") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(53);
  Question question{{random_ids(random, 70)}, {.max_new_tokens = 6, .ignore_stop_ids = true}};
  const auto largest = [](std::span<const float> logits) {
    return int(std::max_element(logits.begin(), logits.end()) - logits.begin());
  };
  for (const float temperature : {0.0f, 0.9f}) {
    CAPTURE(temperature);
    question.options.sampling = {
        .temperature = temperature, .repetition_penalty = temperature > 0 ? 1.2f : 1, .seed = 3};
    question.options.mask = {};
    const Answer plain = alone<qwen3_tiny, float>(spy, checkpoint, question, 512);
    const auto chosen_on_host = [&] {
      SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 128, .max_rows = 16});
      return ids_of(*run(
          on.engine,
          {.prompt = question.prompt, .generation = question.options, .tokenizer = &checkpoint.processor.tokenizer()}));
    };
    int masks = 0;
    question.options.mask = [&](std::span<float>) { ++masks; };
    CHECK(chosen_on_host() == plain.ids);
    CHECK(masks == 6);
    // What is forbidden does not come.
    question.options.mask = [&](std::span<float> logits) { logits[std::size_t(plain.ids[0])] = -INFINITY; };
    const auto masked = chosen_on_host();
    CHECK(std::find(masked.begin(), masked.end(), plain.ids[0]) == masked.end());
  }
  question.options.sampling = {};
  question.options.mask = {};
  const Answer greedy = alone<qwen3_tiny, float>(spy, checkpoint, question, 512);
  std::vector<std::vector<float>> prompt_logits;
  question.options.on_prompt_logits = [&](int position, std::span<const float> logits) {
    CHECK(position == int(prompt_logits.size()));
    prompt_logits.emplace_back(logits.begin(), logits.end());
  };
  question.options.choose = largest;
  SpyEngine<qwen3_tiny, float> on(spy, checkpoint.vlm, {.kv_tokens = 128, .max_rows = 32, .max_logit_rows = 20});
  const auto sequence = run(on.engine, {.prompt = question.prompt, .generation = question.options});
  CHECK(ids_of(*sequence) == greedy.ids);
  CHECK(sequence->text() == "");  // there was no tokenizer
  REQUIRE(prompt_logits.size() == 70);
  CHECK(same_bits({prompt_logits.back()}, {greedy.logits[0]}));
  CHECK(largest(prompt_logits.back()) == greedy.ids[0]);
  question.options.on_prompt_logits = {};
  question.options.choose = [](std::span<const float>) { return 5000; };
  CHECK(what_of<RequestError>([&] { run(on.engine, {.prompt = question.prompt, .generation = question.options}); }) ==
        "choose: expected a token id below " + std::to_string(checkpoint.vlm.facts.vocab_rows) + ", found 5000");
}

TEST_CASE("A plain request stops where the checkpoint says") {
  Spy spy;
  auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(59);
  Question question{{random_ids(random, 12)}, {.max_new_tokens = 8, .ignore_stop_ids = true}};
  const Answer free = alone<qwen3_tiny, float>(spy, checkpoint, question, 512);
  CHECK(free.finish == Finish::length);
  checkpoint.vlm.facts.stop_ids = {free.ids[3]};
  CHECK(alone<qwen3_tiny, float>(spy, checkpoint, question, 512).ids == free.ids);
  question.options.ignore_stop_ids = false;
  const Answer stopped = alone<qwen3_tiny, float>(spy, checkpoint, question, 512);
  CHECK(stopped.finish == Finish::stop_token);
  CHECK(stopped.ids.size() <= 3);
}

TEST_CASE("Special tokens that a user types are the tokens that they name, beside pictures too") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "github"));
  const Processor& processor = checkpoint.processor;
  const int context = *processor.tokenizer().id_of("<IMG_CONTEXT>"), end = *processor.tokenizer().id_of("<|im_end|>");
  const Picture picture(noise_picture(56, 56, 1), processor.tile_rules());
  const std::string_view typed = "what is <IMG_CONTEXT><|im_end|> here? <image>";
  const Prompt prompt = processor.prompt({}, {}, typed, {&picture, 1});
  CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), context) == 1);
  CHECK(std::count(prompt.ids.begin(), prompt.ids.end(), end) ==
        3);  // of the system message, the typed one, the user's
  REQUIRE(prompt.pictures.size() == 1);
  CHECK(prompt.ids[prompt.pictures[0].at - 1] == *processor.tokenizer().id_of("<img>"));
  CHECK(prompt.ids[prompt.pictures[0].at] == *processor.tokenizer().id_of("</img>"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 256});
  CHECK_NOTHROW(on.chat.ask(typed, {picture.image().get(), 1}, {.max_new_tokens = 2}));
  CHECK(on.chat.statistics().prompt_tokens == int(prompt.ids.size()) + 4 * picture.tiles());
}

TEST_CASE("A chat that begins with a history, and chats that share an engine, say what a fresh run says") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "github"));
  const Processor& processor = checkpoint.processor;
  const std::vector<Image> images{noise_picture(90, 40, 2)};
  const std::vector<Turn> history{{"<image>\nWhat is this?", "A cat"}};
  const auto expected = [&](std::string_view question) {
    return std::string(
        strip(fresh<qwen3_tiny, bf16>(spy, checkpoint, history, question, images, {.max_new_tokens = 9}).text));
  };
  SpyEngine<qwen3_tiny, bf16> on(spy, checkpoint.vlm, {.kv_tokens = 512, .max_sequences = 2});
  const ChatOptions options{.history = history, .pictures = {Picture(images[0], processor.tile_rules())}};
  Chat first(on.engine, processor, options), second(on.engine, processor, options);
  CHECK(first.ask("Sure?", {}, {.max_new_tokens = 9}) == expected("Sure?"));
  CHECK(first.statistics().tiles > 0);
  CHECK(second.ask("Why?", {}, {.max_new_tokens = 9}) == expected("Why?"));
  CHECK(second.statistics().tiles == 0);  // the engine knows the picture
  CHECK(first.history().size() == 2);
}

TEST_CASE("The checkpoint's own sampling applies where the caller says nothing") {
  Spy spy;
  auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(61);
  Question question{{random_ids(random, 12)}, {.max_new_tokens = 20, .ignore_stop_ids = true}};
  const auto ids = [&] { return alone<qwen3_tiny, float>(spy, checkpoint, question, 512).ids; };
  const auto greedy = ids();
  checkpoint.vlm.facts.sampling = {
      .sample = true, .temperature = 2, .top_k = 0, .top_p = 0.95f, .repetition_penalty = 1.1f};
  const auto drawn = ids();
  CHECK(drawn != greedy);
  question.options.sampling = {.temperature = 2, .top_k = 0, .top_p = 0.95f, .repetition_penalty = 1.1f};
  checkpoint.vlm.facts.sampling = {};
  CHECK(ids() == drawn);
}

// ---- what an engine refuses
// --------------------------------------------------------------------------------------------

TEST_CASE("An engine says what does not fit, in numbers, and keeps no page of it") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  SpyEngine<qwen2_dynamic, float> on(spy, checkpoint.vlm, {.kv_tokens = 100, .feature_tokens = 9});
  std::mt19937 random(1);
  const int free = on.engine.pool().free(KvGroup::full);
  const auto refused = [&](Prompt prompt, GenerationOptions options) {
    const std::string text = what_of<RequestError>([&] {
      on.engine.start({.prompt = std::move(prompt), .generation = std::move(options), .tokenizer = &tokenizer});
    });
    CHECK(on.engine.pool().free(KvGroup::full) == free);
    return text;
  };
  CHECK(refused({}, {}) == "prompt: expected at least one token, found none");
  CHECK(refused({random_ids(random, 128)}, {}) ==
        "prompt: expected fewer tokens than the model's context of 128, found 128");
  CHECK(refused({{1, 2}}, {.max_new_tokens = 0}) == "max_new_tokens: expected at least 1, found 0");
  CHECK(refused({{1, 311}}, {}) == "prompt: token 311 is not in the model's vocabulary of 311");
  CHECK(refused({{1, -1}}, {}) == "prompt: token -1 is not in the model's vocabulary of 311");
  const TileRules rules = checkpoint.processor.tile_rules();
  const Picture picture(noise_picture(84, 84, 1), rules), wide(noise_picture(168, 84, 1), rules);
  CHECK(refused({{1}, {{2, picture}}}, {}) ==
        "prompt: expected pictures in the order of their places among 1 tokens, found one at 2");
  CHECK(refused({{1}, {{1, wide}}}, {}) == "prompt: its pictures have 27 rows, but the engine has room for 9");
  TileRules others = rules;
  others.tile_px = 56;
  CHECK(refused({{1}, {{1, Picture(noise_picture(84, 84, 1), others)}}}, {}) ==
        "prompt: expected pictures in tiles of 84 pixels, found 56");
  CHECK(refused({{1, 2}}, {.sampling = {.temperature = -1}}) == "temperature: expected 0 or more, found -1");
  CHECK(refused({{1, 2}}, {.stop_strings = {""}}) != "");
  CHECK(what_of<RequestError>([&] {
          on.engine.start({.prompt = {{1, 2}}, .generation = {.max_new_tokens = 5, .stop_strings = {"x"}}});
        }) == "stop strings: expected a tokenizer to find them with, found none");
  on.engine.run();

  SpyEngine<qwen2_dynamic, float> small(spy, checkpoint.vlm, {.kv_tokens = 64});
  CHECK(what_of<RequestError>([&] {
          small.engine.start({.prompt = {{1, 2}}, .generation = {.max_new_tokens = 63}});
        }) == "engine: the prompt of 2 tokens and an answer of 63 need room for 65, but the engine has room for 64");

  const auto no_room = [&](EngineOptions options) {
    return what_of<RequestError>([&] { SpyEngine<qwen2_dynamic, float>(spy, checkpoint.vlm, options); });
  };
  for (const EngineOptions& options :
       {EngineOptions{.kv_tokens = 0}, {.max_sequences = 0}, {.max_sequences = 3, .max_rows = 2}, {.kv_tokens = -5}}) {
    const std::string text = no_room(options);
    CHECK(contains(text, "max_sequences " + std::to_string(options.max_sequences) + ", max_rows " +
                             std::to_string(options.max_rows) + ", kv_tokens " + std::to_string(options.kv_tokens)));
  }
}

TEST_CASE("A cancelled answer ends before its next token, and what came of it stays") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 512});
  Chat& chat = on.chat;
  std::atomic<bool> cancel{true};
  CHECK(chat.ask("Hello", {}, {.max_new_tokens = 50, .stop_ids = {5000}, .cancel = &cancel}) == "");
  CHECK(chat.finish() == Finish::cancelled);
  CHECK(chat.history().empty());
  cancel = false;
  std::string streamed;
  const std::string answer =
      chat.ask("Hello", {}, {.max_new_tokens = 200, .stop_ids = {5000}, .cancel = &cancel}, [&](std::string_view text) {
        streamed += text;
        cancel = true;
      });
  CHECK(chat.finish() == Finish::cancelled);
  CHECK(chat.statistics().new_tokens >= 1);
  CHECK(chat.statistics().new_tokens < 200);
  CHECK(answer == streamed);
  REQUIRE(chat.history().size() == 1);
  CHECK(chat.history()[0].answer == answer);
}

TEST_CASE("An answer says how far it is before its first token, tile by tile") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 512});
  std::vector<AnswerProgress> seen;
  const std::vector<Image> pictures{noise_picture(112, 56, 1), noise_picture(56, 56, 2)};
  on.chat.ask("Hello", pictures,
              {.max_new_tokens = 2, .on_progress = [&](const AnswerProgress& progress) { seen.push_back(progress); }});
  REQUIRE(seen.size() >= 3);
  CHECK(seen.front().tiles_done == 0);
  CHECK(seen.front().tiles == on.chat.statistics().tiles);
  CHECK(seen.front().prompt_tokens == on.chat.statistics().prompt_tokens);
  int tiles_done = 0;
  for (const AnswerProgress& progress : seen) {
    if (progress.tiles == 0) continue;
    CHECK(progress.tiles_done >= tiles_done);
    tiles_done = progress.tiles_done;
  }
  CHECK(tiles_done == on.chat.statistics().tiles);
}

/// Computes nothing: it notes what room it is asked for, and answers with `id`.
class RoomRunner final : public AnyRunner {
 public:
  RoomRunner(ModelFacts model_facts, int answer_id) : facts_(std::move(model_facts)), id_(answer_id) {
    sizes_ = {.hidden = 1, .tokens_per_tile = 1, .tile_px = 56};
    sizes_.layers[KvGroup::full] = sizes_.page_bytes[KvGroup::full] = 1;
  }
  const ModelFacts& facts() const override { return facts_; }
  const RunnerSizes& sizes() const override { return sizes_; }
  void make_room(const StepRoom& room) override {
    const int tokens = room.pages[KvGroup::full] * kv_page_tokens;
    if (tokens > memory_tokens) fail<RoomError>("no memory for ", tokens);
    rooms.push_back(tokens);
  }
  void run(const Step& step, StepResults& results) override { results.ids.assign(std::size_t(step.wanted), id_); }
  std::int32_t choose(std::span<const float>, const Draw&) override { return id_; }
  void cut(const Picture&, int) override {}
  int see_on(std::span<const std::int32_t>) override { return 1; }
  void read_features(std::span<const std::int32_t>, float*) override {}
  Memory place_uses(std::span<const std::int32_t>) override { return {}; }

  int memory_tokens = 1 << 20;
  std::vector<int> rooms;

 private:
  ModelFacts facts_;
  int id_;
  RunnerSizes sizes_;
};

TEST_CASE("Without a given room a chat makes as much as its conversation needs, up to the model's context") {
  const Processor processor = load_processor(tiny_folder("qwen3_tiny", "hf"));
  ModelFacts facts = processor.facts();
  facts.context_length = 40000;
  const int end = processor.stop_ids().at(0);
  const std::string long_question(12000, 'x');

  RoomRunner runner(facts, end);
  Chat chat(runner, processor);
  CHECK(runner.rooms == std::vector{8192});
  chat.ask("Hello");
  CHECK(runner.rooms.size() == 1);
  chat.ask(long_question);
  REQUIRE(runner.rooms.size() == 2);
  CHECK(runner.rooms.back() >= chat.statistics().prompt_tokens + 1024);
  CHECK(chat.statistics().prompt_tokens > 8192);
  CHECK(contains(what_of<RoomError>([&] { chat.ask(std::string(80000, 'x')); }), "the model's context of 40000"));
  CHECK(chat.history().size() == 2);

  RoomRunner given_runner(facts, end);
  Chat given(given_runner, processor, {.kv_tokens = 8192});
  CHECK(!what_of<RoomError>([&] { given.ask(long_question); }).empty());
  CHECK(given_runner.rooms == std::vector{8192});

  // Where there is no memory for more, the conversation goes on in the room that it had.
  RoomRunner small_runner(facts, end);
  small_runner.memory_tokens = 8192;
  Chat small(small_runner, processor);
  CHECK(contains(what_of<RoomError>([&] { small.ask(long_question); }), "no memory for"));
  small.ask("Hello");
  CHECK(small.history().size() == 1);
  CHECK(small_runner.rooms == std::vector{8192, 8192});
}

TEST_CASE("Where memory is short a chat makes as much room as there is memory for, and cuts answers") {
  const Processor processor = load_processor(tiny_folder("qwen3_tiny", "hf"));
  ModelFacts facts = processor.facts();
  facts.context_length = 40000;
  const int end = processor.stop_ids().at(0);
  const auto question_of = [](std::size_t characters) { return std::string(characters, 'x'); };

  RoomRunner tight(facts, end);
  tight.memory_tokens = 3000;
  Chat chat(tight, processor);
  CHECK(tight.rooms == std::vector{2048});
  chat.ask(question_of(1500));  // with 1024 tokens of an answer it would take more than 2048, and 4096 are too many
  const int prompt_tokens = chat.statistics().prompt_tokens;
  REQUIRE(prompt_tokens > 1500);
  REQUIRE(tight.rooms.size() == 2);
  CHECK(tight.rooms.back() >= prompt_tokens + 1024);
  CHECK(tight.rooms.back() < 3000);
  chat.ask(question_of(500));  // no memory for a whole answer: what there is has to do
  chat.ask(question_of(100));
  CHECK(tight.rooms.size() == 3);  // it was tried once, and the old room made anew
  CHECK(tight.rooms.back() == tight.rooms[1]);
  CHECK(!what_of<RoomError>([&] { chat.ask(question_of(3000)); }).empty());
  CHECK(chat.history().size() == 3);

  RoomRunner none(facts, end);
  none.memory_tokens = 100;
  CHECK(contains(what_of<RoomError>([&] { Chat(none, processor); }), "no memory for 512"));
}

TEST_CASE("What does not fit is said by the processor alone, with numbers") {
  const Processor processor = load_processor(tiny_folder("qwen3_tiny", "hf"));
  const int context = processor.facts().context_length;
  const auto prompt_of = [](int tokens) { return Prompt{std::vector<std::int32_t>(std::size_t(tokens), 1)}; };
  CHECK_NOTHROW(check_room(processor, prompt_of(context - 1)));
  CHECK(contains(what_of<RoomError>([&] { check_room(processor, prompt_of(context)); }),
                 "need room for " + std::to_string(context + 1) + ", but there is room for " + std::to_string(context) +
                     ", the model's context"));
  CHECK_NOTHROW(check_room(processor, prompt_of(context - 1), {}, 1000));  // an answer ends where the context does
  CHECK_NOTHROW(check_room(processor, prompt_of(90), 100, 10));
  CHECK(contains(what_of<RoomError>([&] { check_room(processor, prompt_of(91), 100, 10); }), "room for 101"));
  Prompt with_pictures = prompt_of(2);
  const Picture picture(noise_picture(56, 56, 1), processor.tile_rules());
  for (int i = 0; i < 3; ++i) with_pictures.pictures.push_back({1, picture});
  const int rows = 3 * processor.tokens_of(picture);
  CHECK_NOTHROW(check_room(processor, with_pictures, rows + 3));
  CHECK(contains(what_of<RoomError>([&] { check_room(processor, with_pictures, rows + 2); }),
                 "of which 3 pictures are " + std::to_string(rows)));
}

TEST_CASE("The longest answer is the caller's, else the checkpoint's, else 1024 tokens, within the context") {
  ModelFacts facts;
  facts.context_length = 4000;
  CHECK(longest_answer({}, facts, 100) == 1024);
  CHECK(longest_answer({}, facts, 3990) == 10);
  facts.sampling.max_length = 300;
  CHECK(longest_answer({}, facts, 100) == 200);
  CHECK(contains(what_of<RequestError>([&] { longest_answer({}, facts, 300); }), "max_length"));
  CHECK(longest_answer({.max_new_tokens = 7}, facts, 300) == 7);
  facts.sampling.max_new_tokens = 50;
  CHECK(longest_answer({}, facts, 300) == 50);
  CHECK(contains(what_of<RequestError>([&] { longest_answer({.max_new_tokens = 0}, facts, 5); }), "found 0"));
}

TEST_CASE("A chat that forgets a turn goes on as if it had never been") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Image first = noise_picture(112, 56, 1), second = noise_picture(56, 56, 2);
  const GenerationOptions options{.max_new_tokens = 8};
  SpyChat<qwen3_tiny, float> one(spy, checkpoint, {.kv_tokens = 1024}), other(spy, checkpoint, {.kv_tokens = 1024});
  one.chat.ask("What?", {&first, 1}, options);
  one.chat.ask("And this?", {&second, 1}, options);
  one.chat.forget(0, 1);
  REQUIRE(one.chat.history().size() == 1);
  SpyChat<qwen3_tiny, float> fresh(
      spy, checkpoint,
      {.kv_tokens = 1024, .history = one.chat.history(), .pictures = {Picture(second, one.chat.tile_rules())}});
  CHECK(one.chat.ask("Which?", {}, options) == fresh.chat.ask("Which?", {}, options));
  one.chat.forget(0, one.chat.history().size());
  CHECK(one.chat.ask("What?", {&first, 1}, options) == other.chat.ask("What?", {&first, 1}, options));
}

TEST_CASE("A chat says what does not fit of a question, in numbers") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  SpyChat<qwen3_tiny, float> on(spy, checkpoint, {.kv_tokens = 200});
  Chat& chat = on.chat;
  const Image picture = noise_picture(56, 56, 1);
  const auto refused = [&](std::string_view question, std::vector<Image> pictures,
                           GenerationOptions options = {.max_new_tokens = 8}) {
    const std::string text = what_of<RequestError>([&] { chat.ask(question, pictures, options); });
    CHECK(chat.history().empty());
    return text;
  };
  CHECK(refused("\n", {picture}) == "question: expected a text, found none");
  CHECK(refused("\xff", {}) == "question: expected UTF-8, found '\\xff'");
  CHECK(contains(refused("one <image> too few", {picture, picture}), "2 images, but 1 <image> marks"));
  CHECK(contains(refused("<image> and <image>: one too many", {picture}), "1 images, but 2 <image> marks"));
  CHECK(contains(refused(std::string(5000, 'x'), {}), "expected fewer tokens than the model's context of 4096, found"));
  CHECK(contains(refused(std::string(400, 'x'), {}), "but the engine has room for 200"));
  CHECK(contains(refused("hi", {}, {.max_new_tokens = -3}), "found -3"));
  CHECK(refused("hi", {}, {.sampling = {.temperature = -0.5f}}) == "temperature: expected 0 or more, found -0.5");
  CHECK(refused("hi", {}, {.sampling = {.top_k = -1}}) == "top_k: expected 0 (all) or more, found -1");
  CHECK(refused("hi", {}, {.sampling = {.top_p = 0}}) == "top_p: expected more than 0, at most 1, found 0");
  CHECK(refused("hi", {}, {.sampling = {.min_p = 1.5f}}) == "min_p: expected 0 to 1, found 1.5");
  CHECK(refused("hi", {}, {.sampling = {.repetition_penalty = 0}}) ==
        "repetition_penalty: expected more than 0, found 0");
  CHECK(chat.ask("no picture: <IMG_CONTEXT> <image>", {}, {.max_new_tokens = 2}) != "never");

  SpyChat<qwen3_tiny, float> no_tiles(spy, checkpoint, {.max_tiles = 0, .kv_tokens = 200});
  CHECK(contains(what_of<RequestError>([&] { no_tiles.chat.ask("hi", {{picture}}); }),
                 "found min_tiles 0 and max_tiles 0"));
  CHECK(contains(what_of<RequestError>([&] { SpyChat<qwen3_tiny, float>(spy, checkpoint, {.kv_tokens = 0}); }),
                 "kv_tokens 0"));
}

}  // namespace
