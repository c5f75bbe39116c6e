// Several sequences in one engine give what each gives alone; chats give what a fresh run gives; answers end where
// asked.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/drawn_answers.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/serve/chat.hpp"

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

struct Request {
  std::vector<std::int32_t> sources;
  std::vector<Image> pictures;
  GenerationOptions options;
};

struct Answer {
  std::vector<std::int32_t> ids;
  std::vector<std::vector<float>> logits;
  std::string text, streamed;
  Finish finish = Finish::running;
};

template <VlmConfig C, class Scalar>
using SpyEngine = Engine<C, Spy, Scalar>;

/// A request's sequence in an engine, and what came of it.
struct Running {
  std::unique_ptr<Sequence> sequence;
  Answer answer;
};

template <VlmConfig C, class Scalar>
std::unique_ptr<Running> begin(SpyEngine<C, Scalar>& engine, const Checkpoint<C>& checkpoint, const Request& request) {
  auto running = std::make_unique<Running>();
  Prompt prompt{request.sources, engine.encode(request.pictures, checkpoint.processor.tile_rules())};
  running->sequence = engine.start(checkpoint.processor.tokenizer(), std::move(prompt), request.options,
                                   [answer = &running->answer](std::string_view piece) { answer->streamed += piece; });
  return running;
}

/// One step; the logits go to the sequences that got a token, in the order in which they were started.
template <VlmConfig C, class Scalar>
void step(Spy& spy, SpyEngine<C, Scalar>& engine, std::span<const std::unique_ptr<Running>> all) {
  std::vector<std::pair<Running*, int>> before;
  for (const auto& running : all) {
    if (running->sequence && !running->sequence->done())
      before.emplace_back(running.get(), running->sequence->length());
  }
  spy.logits.clear();
  engine.step();
  std::size_t next = 0;
  for (const auto& [running, length] : before) {
    const Sequence& sequence = *running->sequence;
    if (sequence.length() > length || sequence.finish == Finish::stop_token) {
      REQUIRE(next < spy.logits.size());
      running->answer.logits.push_back(spy.logits[next++]);
    }
    running->answer.ids.assign(sequence.generated().begin(), sequence.generated().end());
    running->answer.text = sequence.text;
    running->answer.finish = sequence.finish;
  }
  CHECK(next == spy.logits.size());
}

template <VlmConfig C, class Scalar>
Answer alone(Spy& spy, const Checkpoint<C>& checkpoint, const Request& request, int max_rows) {
  SpyEngine<C, Scalar> engine(spy, checkpoint.vlm,
                              {.kv_tokens = checkpoint.vlm.facts.context_length, .max_rows = max_rows});
  std::vector<std::unique_ptr<Running>> all;
  all.push_back(begin<C, Scalar>(engine, checkpoint, request));
  while (!all[0]->sequence->done()) step<C, Scalar>(spy, engine, all);
  return all[0]->answer;
}

/// One request's answer, and what a later one may go on from.
struct Finished {
  Answer answer;
  int taken_over = 0;  ///< tokens of the prompt that were known from the earlier request
  std::unique_ptr<Sequence> sequence;
};

/// Runs one request, alone in an engine that others may have used before, and goes on from an earlier one.
template <VlmConfig C, class Scalar>
Finished finished(Spy& spy, SpyEngine<C, Scalar>& engine, const Tokenizer& tokenizer, const Request& request,
                  std::unique_ptr<Sequence> earlier = nullptr) {
  Finished result;
  result.sequence = engine.start(
      tokenizer, {request.sources, {}}, request.options,
      [&](std::string_view piece) { result.answer.streamed += piece; }, std::move(earlier));
  Sequence& sequence = *result.sequence;
  result.taken_over = sequence.cached;
  spy.logits.clear();
  for (int steps = 0; steps < 1000 && engine.step();) ++steps;
  sequence.on_text = {};
  result.answer.ids.assign(sequence.generated().begin(), sequence.generated().end());
  result.answer.logits = spy.logits;
  result.answer.text = sequence.text;
  result.answer.finish = sequence.finish;
  return result;
}

/// All tokens of a request that ended, and one more.
std::vector<std::int32_t> longer(const Request& request, const Answer& answer) {
  std::vector<std::int32_t> sources = request.sources;
  sources.insert(sources.end(), answer.ids.begin(), answer.ids.end());
  sources.push_back(7);
  return sources;
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
  std::vector<Request> requests;
  for (const int length : lengths) {
    Request request{random_ids(random, length), {}, {.max_new_tokens = 2 + int(random() % 12)}};
    if (requests.size() % 2 == 1)
      request.options.sampling = {.temperature = 0.8f, .top_k = 40, .repetition_penalty = 1.2f, .seed = random()};
    requests.push_back(request);
  }
  for (const std::size_t with_picture : {1, 2}) {  // different ones, of different sizes
    Request& request = requests[with_picture];
    request.pictures = {noise_picture(50, with_picture == 1 ? 50 : 90, std::uint32_t(with_picture))};
    const int rows = checkpoint.processor.tokens_of(request.pictures[0], checkpoint.processor.tile_rules());
    for (int row = 0; row < rows; ++row) request.sources.insert(request.sources.begin() + 2 + row, -1 - row);
  }

  std::vector<Answer> expected;
  for (const Request& request : requests) expected.push_back(alone<C, Scalar>(spy, checkpoint, request, 512));
  // Chunks of the prompt and threads change nothing.
  for (std::size_t i = 0; i < requests.size(); ++i) {
    CAPTURE(i);
    check_same(alone<C, Scalar>(spy, checkpoint, requests[i], 1 + int(random() % 30)), expected[i]);
  }

  for (int round = 0; round < 6; ++round) {
    const int most = 2 + int(random() % 3), max_rows = most + int(random() % (round < 3 ? 8 : 100));
    CAPTURE(most);
    CAPTURE(max_rows);
    SpyEngine<C, Scalar> engine(spy, checkpoint.vlm, {.kv_tokens = 2048, .max_sequences = most, .max_rows = max_rows});
    std::vector<std::size_t> order(requests.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    const std::size_t abandoned = order[1];  // its user goes away after a few steps
    const int patience = int(random() % 4);

    std::vector<std::unique_ptr<Running>> all;
    std::shared_ptr<KvPages> pool;
    std::size_t next = 0, done = 0;
    int steps_of_abandoned = 0;
    while (done < requests.size()) {
      const auto live =
          std::count_if(all.begin(), all.end(), [](const auto& r) { return r->sequence && !r->sequence->done(); });
      if (next < requests.size() && live < most && (live == 0 || random() % 3 == 0)) {
        all.push_back(begin<C, Scalar>(engine, checkpoint, requests[order[next++]]));
        pool = all.back()->sequence->pool;
        continue;
      }
      step<C, Scalar>(spy, engine, all);
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
    CHECK(pool->free() == pool->count());
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
             std::span<const Image> pictures, const GenerationOptions& options) {
  const Processor& processor = checkpoint.processor;
  const TileRules rules = processor.tile_rules();
  std::vector<int> tokens;
  int rows = 0;
  for (const Image& picture : pictures) {
    tokens.push_back(processor.tokens_of(picture, rules));
    rows += tokens.back();
  }
  const Request request{processor.sources(processor.prompt({}, history, question, tokens), rows),
                        {pictures.begin(), pictures.end()},
                        options};
  return alone<C, Scalar>(spy, checkpoint, request, 512);
}

/// Says and shows things to one chat and, each time, to a fresh engine.
template <VlmConfig C, class Scalar>
struct Conversation {
  Spy& spy;
  const Checkpoint<C>& checkpoint;
  Chat<C, Spy, Scalar> chat{spy, checkpoint, {.kv_tokens = 1024}};
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

    GenerationOptions fresh_options = options;
    fresh_options.stop_ids = checkpoint.processor.stop_ids();
    const Answer expected = fresh<C, Scalar>(spy, checkpoint, history, marked, pictures, fresh_options);
    CHECK(text == expected.text);
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
  CHECK(talk.chat.statistics().cached_tokens >= earlier_tokens - 1);
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

TEST_CASE("What a sequence takes over of an earlier one changes its time, not its answer") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(3);
  for (const int length : {1, 5, 63, 64, 65, 130}) {
    CAPTURE(length);
    for (const int kept : {length + 7, length + 3, length, length / 2, 0}) {
      CAPTURE(kept);
      Engine<qwen3_tiny, Spy, bf16> engine(spy, checkpoint.vlm, {.kv_tokens = 320, .max_rows = 48});
      auto earlier = engine.start(tokenizer, {random_ids(random, length), {}}, {.max_new_tokens = 7});
      const auto pool = earlier->pool;
      while (engine.step()) {
      }
      const int cached = earlier->cached;
      CHECK(cached == earlier->length() - 1);  // the last token was never fed
      Request request{{earlier->sources.begin(), earlier->sources.begin() + kept}, {}, {.max_new_tokens = 5}};
      for (const std::int32_t id : random_ids(random, 9)) request.sources.push_back(id);
      // The first token behind what is kept is another one.
      if (kept < earlier->length())
        request.sources[std::size_t(kept)] = (earlier->sources[std::size_t(kept)] + 1) % 280;
      auto sequence = engine.start(tokenizer, {request.sources, {}}, request.options, {}, std::move(earlier));
      CHECK(sequence->cached == std::min(kept, cached));
      CHECK(pool->count() - pool->free() == (int(request.sources.size()) + 5 + 63) / 64);
      spy.logits.clear();
      while (engine.step()) {
      }
      const auto logits = spy.logits;
      const Answer expected = alone<qwen3_tiny, bf16>(spy, checkpoint, request, 512);
      CHECK(std::vector(sequence->generated().begin(), sequence->generated().end()) == expected.ids);
      CHECK(same_bits(logits, expected.logits));
      sequence.reset();
      CHECK(pool->free() == pool->count());
    }
  }
}

TEST_CASE("With windows a sequence takes over what its rings still hold, and else begins anew") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(23);
  using WindowEngine = Engine<gpt_oss_tiny, Spy, bf16>;
  // Rings of one page of 64 tokens: of 206 that were written they hold the last, 142 to 205. A window of 16 reaches
  // back 15.
  WindowEngine engine(spy, checkpoint.vlm, {.kv_tokens = 448, .max_rows = 48});
  const auto run = [&](std::vector<std::int32_t> sources, std::unique_ptr<Sequence> earlier, int cached) {
    const Request request{std::move(sources), {}, {.max_new_tokens = 7}};
    auto sequence = engine.start(tokenizer, {request.sources, {}}, request.options, {}, std::move(earlier));
    CHECK(sequence->cached == cached);
    spy.logits.clear();
    while (engine.step()) {
    }
    const auto logits = spy.logits;
    CHECK(same_bits(logits, alone<gpt_oss_tiny, bf16>(spy, checkpoint, request, 512).logits));
    return sequence;
  };
  const auto first_of = [&](const Sequence& sequence, int kept) {  // and another token behind
    std::vector<std::int32_t> sources(sequence.sources.begin(), sequence.sources.begin() + kept);
    sources.push_back(kept < sequence.length() ? (sequence.sources[std::size_t(kept)] + 1) % 280 : 1);
    return sources;
  };
  for (const int kept : {206, 157, 156, 1}) {
    CAPTURE(kept);
    auto earlier = run(random_ids(random, 200), nullptr, 0);
    REQUIRE(earlier->cached == 206);
    const auto sources = first_of(*earlier, kept);
    run(sources, std::move(earlier), kept >= 157 ? kept : 0);
  }
  for (const int kept : {157, 156}) {  // the second writes 167 tokens, but the first had 206 in the same ring
    CAPTURE(kept);
    auto first = run(random_ids(random, 200), nullptr, 0);
    const auto second_sources = first_of(*first, 160);
    auto second = run(second_sources, std::move(first), 160);
    REQUIRE(second->cached == 167);
    const auto sources = first_of(*second, kept);
    run(sources, std::move(second), kept >= 157 ? kept : 0);
  }
  // A sequence that ended but lives has its pages still; its rings are another's now.
  auto ended = run(random_ids(random, 100), nullptr, 0);
  run(random_ids(random, 20), nullptr, 0);
  const auto sources = first_of(*ended, 106);
  run(sources, std::move(ended), 0);
}

TEST_CASE("The same prompt again gives the same answer, whatever of it is known already") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(29);
  SpyEngine<qwen3_tiny, bf16> engine(spy, checkpoint.vlm, {.kv_tokens = 256});
  for (const int length : {1, 5, 64, 65}) {
    CAPTURE(length);
    const Request request{random_ids(random, length), {}, {.max_new_tokens = 6}};
    auto first = finished<qwen3_tiny, bf16>(spy, engine, tokenizer, request);
    REQUIRE(first.answer.ids.size() == 6);
    auto second = finished<qwen3_tiny, bf16>(spy, engine, tokenizer, request, std::move(first.sequence));
    CHECK(second.taken_over == length - 1);  // the last token has to run for its logits
    check_same(second.answer, first.answer);
  }
}

TEST_CASE("With windows and room for two, of three conversations the one before the last is kept") {
  Spy spy;
  const auto checkpoint = load<gpt_oss_tiny>(spy, tiny_folder("gpt_oss_tiny", "mxfp4"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(31);
  const auto any = [&](int length) { return Request{random_ids(random, length), {}, {.max_new_tokens = 7}}; };
  const Request a = any(40), b = any(33), c = any(37);
  for (const bool third : {true, false}) {
    CAPTURE(third);
    SpyEngine<gpt_oss_tiny, bf16> engine(spy, checkpoint.vlm, {.kv_tokens = 512, .max_sequences = 2, .max_rows = 48});
    const auto run = [&](const Request& request, std::unique_ptr<Sequence> earlier = nullptr) {
      auto result = finished<gpt_oss_tiny, bf16>(spy, engine, tokenizer, request, std::move(earlier));
      check_same(result.answer, alone<gpt_oss_tiny, bf16>(spy, checkpoint, request, 512));
      return result;
    };
    const Finished of_a = run(a);
    Finished of_b = run(b);
    Finished of_c;
    if (third) of_c = run(c);
    const Request more_of_b{longer(b, of_b.answer), {}, {.max_new_tokens = 7}};
    const Finished again = run(more_of_b, std::move(of_b.sequence));
    CHECK(again.taken_over >= int(b.sources.size()));
  }
}

TEST_CASE("Pictures that come later leave the rows of earlier ones as they are") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const TileRules rules = checkpoint.processor.tile_rules();
  SpyEngine<qwen3_tiny, bf16> engine(spy, checkpoint.vlm, {.kv_tokens = 64});
  const std::vector<Image> first{noise_picture(90, 40, 1)}, later{noise_picture(30, 30, 2), noise_picture(40, 90, 3)};
  const ImageRows one = engine.encode(first, rules), others = engine.encode(later, rules),
                  all = engine.encode(later, rules, one);
  const auto bytes = [&](const ImageRows& rows) {
    std::vector<std::byte> result(std::size_t(rows.rows) * qwen3_tiny.decoder.hidden * sizeof(bf16));
    download(spy, result.data(), rows.memory.data, result.size());
    return result;
  };
  std::vector<std::byte> expected = bytes(one);
  const std::vector<std::byte> behind = bytes(others);
  expected.insert(expected.end(), behind.begin(), behind.end());
  REQUIRE(all.rows == one.rows + others.rows);
  CHECK(bytes(all) == expected);
}

TEST_CASE("Sequences whose tokens are as many as there is room for fit together, wherever each ends") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(37);
  const Request requests[] = {{random_ids(random, 61), {}, {.max_new_tokens = 4}},  // 65 of 128
                              {random_ids(random, 59), {}, {.max_new_tokens = 4}}};
  SpyEngine<qwen3_tiny, float> engine(spy, checkpoint.vlm, {.kv_tokens = 128, .max_sequences = 2});
  std::vector<std::unique_ptr<Running>> all;
  for (const Request& request : requests) all.push_back(begin<qwen3_tiny, float>(engine, checkpoint, request));
  for (int steps = 0; steps < 10; ++steps) step<qwen3_tiny, float>(spy, engine, all);
  for (std::size_t i = 0; i < 2; ++i)
    check_same(all[i]->answer, alone<qwen3_tiny, float>(spy, checkpoint, requests[i], 512));
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
    SpyEngine<qwen3_tiny, float> engine(spy, checkpoint.vlm, {.kv_tokens = 128, .max_sequences = 2});
    spy.logits.clear();
    spy.script.assign(100, last);  // what the head wants, be there such an id or not
    std::vector<std::unique_ptr<Sequence>> sequences;
    for (const bool is_small : {small_first, !small_first})
      sequences.push_back(engine.start(is_small ? small : large, {{1, 2, 3}, {}}, {.max_new_tokens = 4}));
    for (int steps = 0; steps < 10 && engine.step();) ++steps;
    spy.script.clear();
    const auto of_small = sequences[small_first ? 0 : 1]->generated(),
               of_large = sequences[small_first ? 1 : 0]->generated();
    CHECK(std::vector(of_large.begin(), of_large.end()) == std::vector(4, last));
    CHECK(std::vector(of_small.begin(), of_small.end()) == std::vector(4, 0));  // the first of equals
  }
}

/// Each epsilon changes what is its own, and nothing else.
template <VlmConfig C>
void check_epsilons(std::string_view name) {
  CAPTURE(name);
  Spy spy;
  auto checkpoint = load<C>(spy, tiny_folder(name, "hf"));
  std::mt19937 random(41);
  const Request request{random_ids(random, 9), {}, {.max_new_tokens = 2}};
  const std::vector<Image> pictures{noise_picture(56, 56, 9)};
  const auto logits = [&] { return alone<C, float>(spy, checkpoint, request, 512).logits[0]; };
  const auto picture_rows = [&] {
    SpyEngine<C, float> engine(spy, checkpoint.vlm, {.kv_tokens = 64});
    const ImageRows rows = engine.encode(pictures, checkpoint.processor.tile_rules());
    std::vector<float> values(std::size_t(rows.rows) * C.decoder.hidden);
    download(spy, values.data(), rows.memory.data, values.size() * sizeof(float));
    return values;
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
struct Counting : cpu::Context {
  Counting() : cpu::Context(1) {}
  std::size_t allocated = 0;
};
Memory allocate(Counting& ctx, std::size_t bytes) {
  ctx.allocated += bytes;
  return cpu::allocate(ctx, bytes);
}

TEST_CASE("Longer conversations cost memory only in layers without a window") {
  Counting ctx;
  const auto checkpoint = load<gpt_oss_tiny>(ctx, tiny_folder("gpt_oss_tiny", "hf"));
  const auto bytes_of = [&](int kv_tokens) {
    ctx.allocated = 0;
    const Engine<gpt_oss_tiny, Counting, bf16> engine(ctx, checkpoint.vlm,
                                                      {.kv_tokens = kv_tokens, .max_sequences = 2, .max_rows = 48});
    return std::int64_t(ctx.allocated);
  };
  const std::int64_t page_bytes =
      kv_page_bytes(ctx, DecoderBlock<gpt_oss_tiny.decoder>::attention_shape, ScalarKind::bf16, 64);
  // One layer of three, and the page numbers of both sequences.
  constexpr int more_pages = 64;
  CHECK(bytes_of(8192) - bytes_of(4096) == more_pages * (page_bytes + 2 * std::int64_t(sizeof(std::int32_t))));
}

TEST_CASE("A prompt within the context takes nothing over from one beyond it, whose keys turned otherwise") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  std::mt19937 random(5);
  Engine<qwen2_dynamic, Spy, float> engine(spy, checkpoint.vlm, {.kv_tokens = 256});
  auto earlier = engine.start(checkpoint.processor.tokenizer(), {random_ids(random, 100), {}}, {.max_new_tokens = 2});
  while (engine.step()) {
  }
  const Request request{{earlier->sources.begin(), earlier->sources.begin() + 40}, {}, {.max_new_tokens = 4}};
  auto sequence =
      engine.start(checkpoint.processor.tokenizer(), {request.sources, {}}, request.options, {}, std::move(earlier));
  spy.logits.clear();
  while (engine.step()) {
  }
  const auto logits = spy.logits;
  CHECK(same_bits(logits, alone<qwen2_dynamic, float>(spy, checkpoint, request, 512).logits));
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
                 "but of 1024 only 1024 are free"));
  talk.ask("And now?", {}, "And now?");
}

TEST_CASE("A callback that throws does not disturb the other sequences of its step") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  std::mt19937 random(11);
  const Request requests[] = {{random_ids(random, 9), {}, {.max_new_tokens = 6}},
                              {random_ids(random, 4), {}, {.max_new_tokens = 9}}};
  std::vector<std::vector<std::int32_t>> expected;
  for (const Request& request : requests)
    expected.push_back(alone<qwen3_tiny, float>(spy, checkpoint, request, 512).ids);

  Engine<qwen3_tiny, Spy, float> engine(spy, checkpoint.vlm, {.kv_tokens = 256, .max_sequences = 2});
  const auto thrower = [](std::string_view) { throw std::runtime_error("no"); };
  const auto first = engine.start(tokenizer, {requests[0].sources, {}}, requests[0].options, thrower);
  const auto second = engine.start(tokenizer, {requests[1].sources, {}}, requests[1].options);
  int thrown = 0;
  for (bool more = true; more && thrown < 100;) {
    try {
      more = engine.step();
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(thrown > 0);
  CHECK(std::vector(first->generated().begin(), first->generated().end()) == expected[0]);
  CHECK(std::vector(second->generated().begin(), second->generated().end()) == expected[1]);
  CHECK(first->finish == Finish::length);
}

// ---- how answers end -----------------------------------------------------------------------------------------------

TEST_CASE("An answer ends at a stop id, after max_new_tokens, or where the context ends") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  std::mt19937 random(13);
  const Request request{random_ids(random, 20), {}, {.max_new_tokens = 24}};
  const Answer free = alone<qwen2_dynamic, float>(spy, checkpoint, request, 512);
  CHECK(free.finish == Finish::length);
  CHECK(free.ids.size() == 24);

  Request stopped = request;
  stopped.options.stop_ids = {5000, free.ids[9]};
  const Answer until = alone<qwen2_dynamic, float>(spy, checkpoint, stopped, 512);
  const auto end = std::find(free.ids.begin(), free.ids.end(), free.ids[9]);
  CHECK(until.ids == std::vector(free.ids.begin(), end));
  CHECK(until.finish == Finish::stop_token);

  Request one = request;
  one.options.max_new_tokens = 1;
  CHECK(alone<qwen2_dynamic, float>(spy, checkpoint, one, 512).ids == std::vector{free.ids[0]});

  for (const int length : {120, 127}) {
    const Request full{random_ids(random, length), {}, {.max_new_tokens = 1000}};
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
  Engine<qwen3_tiny, Spy, float> engine(spy, checkpoint.vlm, {.kv_tokens = 256});
  spy.logits.clear();
  spy.script = script;
  pieces.clear();
  const auto sequence =
      engine.start(tokenizer, {{1, 2, 3}, {}},
                   {.max_new_tokens = max_new_tokens, .stop_ids = {end}, .stop_strings = std::move(stop_strings)},
                   [&](std::string_view piece) { pieces.emplace_back(piece); });
  while (engine.step()) {
  }
  spy.script.clear();
  return {{sequence->generated().begin(), sequence->generated().end()}, {}, sequence->text, "", sequence->finish};
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
  Chat<qwen3_tiny, Spy, float> chat(spy, checkpoint, {.kv_tokens = 192});
  chat.ask("Hello", {}, {.max_new_tokens = 1000, .stop_ids = {5000}});  // there is no such id
  CHECK(chat.statistics().prompt_tokens < 150);
  CHECK(chat.statistics().prompt_tokens + chat.statistics().new_tokens == 192);
}

TEST_CASE("A caller's stop ids take the place of the checkpoint's") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  Chat<qwen3_tiny, Spy, float> chat(spy, checkpoint, {.kv_tokens = 256});
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
  Chat<C, Spy, bf16> chat(spy, checkpoint, {.kv_tokens = 256});
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

// ---- sampling in the engine
// ------------------------------------------------------------------------------------------

TEST_CASE("A seed decides an answer, and a temperature of almost nothing, top_k = 1 or a tiny top_p is greedy") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(17);
  Request request{random_ids(random, 12), {}, {.max_new_tokens = 30}};
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
  const auto drawn = ids({.temperature = 2, .seed = 7});
  CHECK(drawn != greedy);
  CHECK(ids({.temperature = 2, .seed = 7}) == drawn);
  CHECK(ids({.temperature = 2, .seed = 8}) != drawn);
}

TEST_CASE("What a seed draws is pinned, beside other sequences and with every setting") {
  Spy spy;
  check_drawn_answers(spy, load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf")));
}

TEST_CASE("The repetition penalty counts the prompt and every token so far") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  std::mt19937 random(19);
  Request request{random_ids(random, 60), {}, {.max_new_tokens = 30}};
  const auto unpenalised = alone<qwen3_tiny, float>(spy, checkpoint, request, 512).ids;
  request.options.sampling.repetition_penalty = 1.5f;
  const Answer answer = alone<qwen3_tiny, float>(spy, checkpoint, request, 512);
  CHECK(answer.ids != unpenalised);
  std::vector<std::int32_t> seen = request.sources;
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
                                          {.temperature = 1e6f, .seed = 3},
                                          {.temperature = 1e6f, .repetition_penalty = 2, .seed = 4}}) {
    // The head is told to want nothing but its last row.
    Engine<qwen3_tiny, Spy, float> engine(spy, checkpoint.vlm, {.kv_tokens = 1024});
    spy.logits.clear();
    spy.script.assign(500, checkpoint.vlm.facts.vocab_rows - 1);
    // Such an id may stand in a prompt, and the penalty knows nothing of it.
    const auto sequence = engine.start(checkpoint.processor.tokenizer(), {{1, checkpoint.vlm.facts.vocab_rows - 1}, {}},
                                       {.max_new_tokens = 500, .sampling = sampling});
    while (engine.step()) {
    }
    int largest = 0;
    for (const std::int32_t id : sequence->generated()) largest = std::max(largest, id);
    CHECK(largest < known);
    if (sampling.temperature > 0)
      CHECK(largest > 200);  // almost uniform over the others: 1 in 10^90 that none is above 200
    spy.script.clear();
  }
}

// ---- what an engine refuses
// --------------------------------------------------------------------------------------------

TEST_CASE("An engine says what does not fit, in numbers, and keeps no page of it") {
  Spy spy;
  const auto checkpoint = load<qwen2_dynamic>(spy, tiny_folder("qwen2_dynamic", "hf"));
  const Tokenizer& tokenizer = checkpoint.processor.tokenizer();
  using SmallEngine = Engine<qwen2_dynamic, Spy, float>;
  SmallEngine engine(spy, checkpoint.vlm, {.kv_tokens = 100});
  std::mt19937 random(1);
  const auto running = engine.start(tokenizer, {random_ids(random, 3), {}}, {.max_new_tokens = 2});
  const int free = running->pool->free();
  const auto refused = [&](std::vector<std::int32_t> sources, GenerationOptions options) {
    const std::string text = what_of<RequestError>([&] {
      engine.start(tokenizer, {std::move(sources), {}}, std::move(options));
    });
    CHECK(running->pool->free() == free);
    return text;
  };
  CHECK(refused({}, {}) == "prompt: expected at least one token, found none");
  CHECK(refused(random_ids(random, 128), {}) ==
        "prompt: expected fewer tokens than the model's context of 128, found 128");
  CHECK(refused({1, 2}, {.max_new_tokens = 0}) == "max_new_tokens: expected at least 1, found 0");
  CHECK(refused({1, 311}, {}) == "prompt: token 311 is not in the model's vocabulary of 311");
  CHECK(refused({1, -1}, {}) == "prompt: it wants image row 0, but its pictures have 0");
  CHECK(refused({1, 2}, {.max_new_tokens = 4}) == "engine: expected at most 1 sequences, found one more");
  CHECK(refused({1, 2}, {.max_new_tokens = 125}) ==
        "engine: the prompt and its answer need room for 127 tokens, but of 128 only 64 are free");
  CHECK(refused({1, 2}, {.sampling = {.temperature = -1}}) == "temperature: expected 0 or more, found -1");
  CHECK(refused({1, 2}, {.stop_strings = {""}}) != "");
  while (engine.step()) {
  }

  const auto no_room = [&](EngineOptions options) {
    return what_of<RequestError>([&] { SmallEngine(spy, checkpoint.vlm, options); });
  };
  for (const EngineOptions& options :
       {EngineOptions{.kv_tokens = 0}, {.max_sequences = 0}, {.max_sequences = 3, .max_rows = 2}, {.kv_tokens = -5}}) {
    const std::string text = no_room(options);
    CHECK(contains(text, "max_sequences " + std::to_string(options.max_sequences) + ", max_rows " +
                             std::to_string(options.max_rows) + ", kv_tokens " + std::to_string(options.kv_tokens)));
  }
}

TEST_CASE("A chat says what does not fit of a question, in numbers") {
  Spy spy;
  const auto checkpoint = load<qwen3_tiny>(spy, tiny_folder("qwen3_tiny", "hf"));
  Chat<qwen3_tiny, Spy, float> chat(spy, checkpoint, {.kv_tokens = 200});
  const Image picture = noise_picture(56, 56, 1);
  const auto refused = [&](std::string_view question, std::vector<Image> pictures,
                           GenerationOptions options = {.max_new_tokens = 8}) {
    const std::string text = what_of<RequestError>([&] { chat.ask(question, pictures, options); });
    CHECK(chat.history().empty());
    return text;
  };
  CHECK(contains(refused("one <image> too few", {picture, picture}), "2 images, but 1 <image> marks"));
  CHECK(contains(refused("<image> and <image>: one too many", {picture}), "1 images, but 2 <image> marks"));
  CHECK(contains(refused("a stray <IMG_CONTEXT>", {picture}),
                 "pictures have 4 rows, but it holds 5 <IMG_CONTEXT> tokens"));
  CHECK(contains(refused(std::string(5000, 'x'), {}), "expected fewer tokens than the model's context of 4096, found"));
  CHECK(contains(refused(std::string(400, 'x'), {}), "tokens, but of 256 only 256 are free"));
  CHECK(contains(refused("hi", {}, {.max_new_tokens = -3}), "found -3"));
  CHECK(refused("hi", {}, {.sampling = {.temperature = -0.5f}}) == "temperature: expected 0 or more, found -0.5");
  CHECK(refused("hi", {}, {.sampling = {.top_k = -1}}) == "top_k: expected 0 (all) or more, found -1");
  CHECK(refused("hi", {}, {.sampling = {.top_p = 0}}) == "top_p: expected more than 0, at most 1, found 0");
  CHECK(refused("hi", {}, {.sampling = {.min_p = 1.5f}}) == "min_p: expected 0 to 1, found 1.5");
  CHECK(refused("hi", {}, {.sampling = {.repetition_penalty = 0}}) ==
        "repetition_penalty: expected more than 0, found 0");
  CHECK(chat.ask("no picture: <IMG_CONTEXT> <image>", {}, {.max_new_tokens = 2}) != "never");

  Chat<qwen3_tiny, Spy, float> no_tiles(spy, checkpoint, {.max_tiles = 0, .kv_tokens = 200});
  CHECK(contains(what_of<RequestError>([&] { no_tiles.ask("hi", {{picture}}); }), "found min_tiles 0 and max_tiles 0"));
  CHECK(contains(what_of<RequestError>([&] { Chat<qwen3_tiny, Spy, float>(spy, checkpoint, {.kv_tokens = 0}); }),
                 "kv_tokens 0"));
}

}  // namespace
