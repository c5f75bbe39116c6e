// What requests of one engine share, and what they leave to each other, over a runner that hashes what it sees.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/hashing_runner.hpp"
#include "ivl/serve/engine.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

Picture grey_picture(int level, int tiles = 1) {
  return Picture(Image{4 * tiles, 4, std::vector<std::uint8_t>(std::size_t(48 * tiles), std::uint8_t(level))},
                 {.max_tiles = tiles, .thumbnail = false});
}

Request greedy(Prompt prompt, int longest) {
  return {.prompt = std::move(prompt), .generation = {.max_new_tokens = longest, .ignore_stop_ids = true}};
}

std::vector<std::int32_t> greedy_answer(const HashingModel& model, const Prompt& prompt, int longest) {
  return model.answer(prompt, 10, longest, -1, [](const std::vector<float>& logits, int) {
    return HashingModel::choose(logits, {.ids = int(logits.size())});
  });
}

TEST_CASE("The next turn knows all of the last one, behind pictures too") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 400, .feature_tokens = 60});
  const Picture picture(Image{4, 4, std::vector<std::uint8_t>(48, 9)}, {.max_tiles = 1});
  const Picture other(Image{4, 4, std::vector<std::uint8_t>(48, 8)}, {.max_tiles = 1});
  const auto cached_of = [&](const Prompt& prompt) {
    const auto sequence =
        engine.start({.prompt = prompt, .generation = {.max_new_tokens = 1, .ignore_stop_ids = true}});
    engine.run();
    return sequence->statistics().cached_tokens;
  };
  Prompt prompt{std::vector<std::int32_t>(70, 20), {{66, picture}}};
  CHECK(cached_of(prompt) == 0);
  prompt.ids.push_back(21);
  CHECK(cached_of(prompt) == 80);  // two ids of the second page, the picture's ten rows and four ids more
  prompt.pictures[0].picture = other;
  prompt.ids.push_back(22);
  CHECK(cached_of(prompt) == 64);
  prompt.pictures = {{66, other}, {71, picture}};
  CHECK(cached_of(prompt) == 81);  // up to the second picture
  prompt.ids.push_back(23);
  CHECK(cached_of(prompt) == 92);  // and behind it
}

TEST_CASE("What is known is shared among requests of one salt alone") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 800, .feature_tokens = 60});
  const Picture picture(Image{4, 4, std::vector<std::uint8_t>(48, 9)}, {.max_tiles = 1});
  const auto cached_of = [&](const std::string& salt) {
    const auto sequence = engine.start({.prompt = {std::vector<std::int32_t>(140, 20), {{135, picture}}},
                                        .generation = {.max_new_tokens = 1, .ignore_stop_ids = true},
                                        .cache_salt = salt});
    engine.run();
    return sequence->statistics().cached_tokens;
  };
  CHECK(cached_of("") == 0);
  CHECK(cached_of("a") == 0);
  CHECK(cached_of("b") == 0);
  CHECK(runner.tiles_seen == 3);
  for (const char* salt : {"", "a", "b"}) CHECK(cached_of(salt) == 149);
  CHECK(runner.tiles_seen == 3);
}

TEST_CASE("Pictures of the same bytes and another shape are two") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 800, .feature_tokens = 60});
  const std::vector<std::uint8_t> bytes(96, 9);
  for (const PixelSize size : {PixelSize{4, 8}, {8, 4}, {4, 8}}) {
    engine.start(greedy({{20, 21}, {{1, Picture(Image{size.width, size.height, bytes}, {.max_tiles = 1})}}}, 1));
    engine.run();
  }
  CHECK(runner.tiles_seen == 2);
}

TEST_CASE("Logprobs are the model's own, whatever rules and masks do to its logits") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Engine engine(runner);
  const Prompt prompt{{20, 21, 22}};
  const auto run = [&](std::optional<int> logprobs, bool masked) {
    GenerationOptions generation{.max_new_tokens = 8, .ignore_stop_ids = true, .logprobs = logprobs};
    if (masked) generation.mask = [](std::span<float> logits) { std::ranges::fill(logits.first(30), -INFINITY); };
    const auto sequence = engine.start({.prompt = prompt, .generation = generation});
    engine.run();
    return sequence;
  };
  CHECK(run({}, false)->logprobs().empty());
  for (const bool masked : {false, true}) {
    const auto plain = run({}, masked), told = run(3, masked);
    CHECK(std::ranges::equal(plain->generated(), told->generated()));
    REQUIRE(told->logprobs().size() == 8);
    for (int i = 0; i < 8; ++i) {
      Prompt so_far = prompt;
      so_far.ids.insert(so_far.ids.end(), told->generated().begin(), told->generated().begin() + i);
      std::vector<float> own;
      (void)model.answer(so_far, 10, 1, -1, [&](const std::vector<float>& logits, int) { return (own = logits, 5); });
      const TokenLogprobs expected = logprobs_of(own, told->generated()[std::size_t(i)], 3);
      const TokenLogprobs& found = told->logprobs()[std::size_t(i)];
      CHECK(found.chosen.id == expected.chosen.id);
      CHECK(found.chosen.logprob == expected.chosen.logprob);
      REQUIRE(found.top.size() == 3);
      CHECK(found.top[2].id == expected.top[2].id);
    }
  }
}

TEST_CASE("A request that waits for a page goes on when the step beside it fails") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 192, .max_sequences = 2});  // four pages
  const Prompt prompt{std::vector<std::int32_t>(10, 20)};
  const auto waits = engine.start({.prompt = prompt, .generation = {.max_new_tokens = 170, .ignore_stop_ids = true}});
  const auto keeps = engine.start(
      {.prompt = prompt,  // three pages from the start, which nobody may take
       .generation = {
           .max_new_tokens = 130, .ignore_stop_ids = true, .on_prompt_logits = [](int, std::span<const float>) {}}});
  for (int step = 0; step < 80; ++step) REQUIRE(engine.step());
  REQUIRE(waits->length() == 65);
  REQUIRE(keeps->length() > 65);
  runner.fails_behind_sequence = 0;
  CHECK(engine.step());
  CHECK(keeps->finish() == Finish::error);
  engine.run();
  CHECK(waits->finish() == Finish::length);
}

TEST_CASE("What several begin with is computed once, also where they come together") {
  const HashingModel model;
  for (const bool with_picture : {false, true}) {
    CAPTURE(with_picture);
    HashingRunner runner(model, 10);
    Engine engine(runner, {.kv_tokens = 2000, .max_sequences = 4, .max_rows = 50});
    Prompt prompt{std::vector<std::int32_t>(200, 20)};
    if (with_picture) prompt.pictures = {{70, grey_picture(9, 3)}};
    const int prompt_tokens = 200 + 30 * with_picture, shared = prompt_tokens / kv_page_tokens * kv_page_tokens;
    std::vector<Request> requests;
    for (int i = 0; i < 4; ++i) {
      requests.push_back(greedy(prompt, 10));
      requests.back().generation.sampling = {.temperature = 1, .seed = std::uint64_t(i)};
    }
    const auto answers = run_all(engine, std::move(requests));
    CHECK(runner.rows == prompt_tokens + 3 * (prompt_tokens - shared) + 4 * 9);
    CHECK(runner.tiles_seen == 3 * with_picture);
    for (int i = 0; i < 4; ++i) {
      const Sequence& answer = *answers[std::size_t(i)];
      CHECK(answer.statistics().cached_tokens == (i == 0 ? 0 : shared));
      const Sampling sampling{.temperature = 1, .seed = std::uint64_t(i)};
      CHECK(std::ranges::equal(
          answer.generated(), model.answer(prompt, 10, 10, -1, [&](const std::vector<float>& logits, int number) {
            return HashingModel::choose(logits, draw_of(sampling, std::uint64_t(number), model.vocab_rows, nullptr));
          })));
    }
  }
}

TEST_CASE("Nobody waits for what one that is paused has begun to compute") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 2000, .max_sequences = 2, .max_rows = 50});
  const Prompt prompt{std::vector<std::int32_t>(200, 20)};
  const auto slow = engine.start(greedy(prompt, 4)), other = engine.start(greedy(prompt, 4));
  engine.step();
  engine.pause(*slow);
  engine.run();
  CHECK(other->finish() == Finish::length);
  CHECK(!slow->done());
  engine.resume(*slow);
  engine.run();
  CHECK(std::ranges::equal(slow->generated(), other->generated()));
}

TEST_CASE("What was known when a request first ran stays said, also when it gave its place away and came back") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 256, .max_sequences = 1});
  const auto slow = engine.start(greedy({std::vector<std::int32_t>(200, 20)}, 20));
  for (int i = 0; i < 5; ++i) engine.step();
  const double prefill_s = slow->statistics().prefill_s;
  engine.pause(*slow);
  engine.start(greedy({std::vector<std::int32_t>(100, 30)}, 4));  // takes two of its four pages
  engine.run();
  engine.resume(*slow);
  engine.run();
  CHECK(slow->finish() == Finish::length);
  CHECK(slow->statistics().cached_tokens == 0);
  CHECK(slow->statistics().prefill_s == prefill_s);
}

TEST_CASE("A picture that several bring is seen once, also where the first goes away in the midst of it") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Engine engine(runner, {.kv_tokens = 2000, .max_sequences = 3, .max_rows = 50, .step_ms = 1e-6});
  const Picture picture = grey_picture(9, 4);
  const Prompt first{{20, 21}, {{1, picture}}}, second{{30, 31}, {{1, picture}}};
  const auto leaves = engine.start(greedy(first, 4)), stays = engine.start(greedy(second, 4));
  for (int i = 0; i < 5; ++i) engine.step();  // one tile is seen, and a second begun
  CHECK(runner.tiles_seen == 1);
  engine.stop(*leaves);
  engine.run();
  CHECK(runner.tiles_seen == 4);
  CHECK(stays->statistics().tiles == 3);
  CHECK(std::ranges::equal(stays->generated(), greedy_answer(model, second, 4)));
  const auto known = engine.start(greedy(first, 4));
  engine.run();
  CHECK(known->statistics().tiles == 0);
  CHECK(std::ranges::equal(known->generated(), greedy_answer(model, first, 4)));
  const EngineStatus status = engine.status();
  CHECK(status.pictures == 3);
  CHECK(status.known_pictures == 2);
}

TEST_CASE("Two pictures that are seen in turns do not mix") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Engine engine(runner, {.kv_tokens = 2000, .max_sequences = 3, .max_rows = 50, .step_ms = 1e-6});
  const Prompt early{{20, 21}, {{1, grey_picture(8, 2)}}}, late{{30, 31}, {{1, grey_picture(9, 2)}}};
  Request urgent = greedy(early, 4);
  urgent.priority = -1;
  const auto second = engine.start(greedy(late, 4));
  for (int i = 0; i < 4; ++i) engine.step();
  const auto first = engine.start(std::move(urgent));  // its turn is before that of a picture which is half seen
  engine.run();
  CHECK(runner.cuts == 3);
  CHECK(std::ranges::equal(first->generated(), greedy_answer(model, early, 4)));
  CHECK(std::ranges::equal(second->generated(), greedy_answer(model, late, 4)));
}

TEST_CASE("A picture is cut anew where what was cut of it is of no use any more") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Engine engine(runner, {.kv_tokens = 2000, .max_sequences = 3, .max_rows = 50, .feature_tokens = 20});
  const auto prompt = [](int number, int level) {  // its pages are nobody's yet
    return Prompt{{20 + number, 21}, {{1, grey_picture(level, 2)}}};
  };
  const auto answer_is_right = [&](int number) {
    const auto sequence = engine.start(greedy(prompt(number, 8), 4));
    engine.run();
    CHECK(std::ranges::equal(sequence->generated(), greedy_answer(model, prompt(number, 8), 4)));
  };
  runner.fails_to_see = true;
  const auto fails = engine.start(greedy(prompt(0, 8), 4));
  engine.run();
  CHECK(fails->finish() == Finish::error);
  answer_is_right(1);
  CHECK(runner.cuts == 2);
  // Another picture takes the rows, and nothing of it is seen.
  Request gone = greedy(prompt(2, 9), 4);
  gone.on_start = [](const Sequence&) { throw std::runtime_error("the caller is gone"); };
  engine.start(std::move(gone));
  engine.run();
  answer_is_right(3);
  CHECK(runner.cuts == 3);
}

TEST_CASE("With a goal for its time, each step gives every reader a token, whatever comes beside") {
  const HashingModel model;
  HashingRunner runner(model, 10);
  Engine engine(runner, {.kv_tokens = 4000, .max_sequences = 4, .max_rows = 400, .step_ms = 1e-6});
  const auto reader = engine.start(greedy({{20, 21}}, 100));
  engine.step();
  REQUIRE(reader->generated().size() == 1);
  const auto picture = engine.start(greedy({{30, 31}, {{1, grey_picture(9, 6)}}}, 4));
  const auto text = engine.start(greedy({std::vector<std::int32_t>(300, 40)}, 4));
  for (int i = 0; i < 15; ++i) {
    const std::int64_t pieces = runner.pieces, rows = runner.rows;
    engine.step();
    CHECK(int(reader->generated().size()) == 2 + i);
    CHECK(runner.pieces == pieces + 1);
    CHECK(runner.rows - rows <= 3 + 16);
  }
  CHECK(text->cached() >= 150);
  engine.run();
  CHECK(std::ranges::equal(picture->generated(), greedy_answer(model, {{30, 31}, {{1, grey_picture(9, 6)}}}, 4)));
  // Without anybody who reads, steps are as large as they may be.
  const auto alone = engine.start(greedy({std::vector<std::int32_t>(300, 41)}, 4));
  engine.step();
  CHECK(alone->generated().size() == 1);
}

TEST_CASE("Eight that fit may overtake one that finds no room, and no more") {
  HashingRunner runner({}, 10);
  Engine engine(runner, {.kv_tokens = 640, .max_sequences = 30, .max_rows = 64});  // 39 pages
  std::vector<std::shared_ptr<Sequence>> large, small;
  for (int i = 0; i < 5; ++i) large.push_back(engine.start(greedy({std::vector<std::int32_t>(600, 30 + i)}, 30)));
  const auto sees = engine.start(greedy({{40}, {{0, grey_picture(9)}}}, 3));  // takes others' time
  for (int i = 0; i < 12; ++i) small.push_back(engine.start(greedy({{40 + i}}, 3)));
  const auto waits = [](const std::shared_ptr<Sequence>& sequence) { return !sequence->was_started(); };
  int overtook = 0;
  while (engine.step() && std::ranges::count_if(large, waits) == 2)
    overtook = 12 - int(std::ranges::count_if(small, waits));
  CHECK(overtook == 8);
  CHECK(!sees->was_started());
  engine.run();
  for (const auto& sequence : small) CHECK(sequence->finish() == Finish::length);
}

}  // namespace
