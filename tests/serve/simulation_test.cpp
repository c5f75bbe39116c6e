// The engine over a runner that hashes what it sees (hashing_runner.hpp): random requests, cancels, failures and small
// rooms, from a seed. Whatever happens beside a request, its answer is that of the definition.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../support/dice.hpp"
#include "../support/hashing_runner.hpp"
#include "ivl/core/error.hpp"
#include "ivl/serve/engine.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// What a test asks, with what must come of it.
struct Asked {
  std::shared_ptr<Sequence> sequence;
  Prompt prompt;
  std::vector<std::int32_t> expected;
  std::unique_ptr<std::atomic<bool>> cancel = std::make_unique<std::atomic<bool>>(false);
  bool may_end_early = false;  ///< its cancel, a callback or a failed step may have ended it
  bool keeps_pages = false;    ///< also while it is paused
  int priority = 0, number = 0;
  int overtaken = 0;                                ///< how often another, whose turn was later, came first
  std::shared_ptr<const std::pair<int, int>> told;  ///< how often its start and its end

  Finish finish() const { return sequence->finish(); }
  bool comes_before(const Asked& other) const {
    return std::pair(priority, number) < std::pair(other.priority, other.number);
  }
};

void check_all_is_free(const Engine& engine) {
  for (const KvGroup group : all_kv_groups) CHECK(engine.pool().free(group) == engine.pool().count(group));
}

/// A model, an engine with little room, and what requests are made of.
class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : dice_(seed),
        answers_are_long_(dice_.chance(40)),
        model_{.window = dice_.chance(50) ? 0 : dice_.between(1, 150),
               .repeating = dice_.chance(50) ? 0 : dice_.between(50, 100),
               .context = dice_.chance(80) ? 0 : dice_.between(1, 200)},
        runner_(model_, dice_.between(1, 90)),
        options_(make_options()),
        engine_(runner_, options_) {
    for (auto& prefix : prefixes_) {
      prefix.resize(std::size_t(dice_.between(1, answers_are_long_ ? 30 : 150)));
      for (std::int32_t& id : prefix) id = dice_.between(2, model_.vocab_rows - 1);
    }
    for (int i = 0; i < 3; ++i) {
      Image image{4, 4, std::vector<std::uint8_t>(48, std::uint8_t(dice_.between(0, 255)))};
      image.rgb[0] = std::uint8_t(i);  // no two are equal
      pictures_.emplace_back(Picture(std::move(image), {.max_tiles = dice_.between(1, 3)}));
    }
  }

  /// Random requests come, run, are cancelled and fail; then everything is let end.
  void run(int requests) {
    for (int steps = 0; requests > 0 || !pending_.empty();) {
      while (requests > 0 && dice_.chance(30)) {
        ask();
        --requests;
      }
      disturb();
      step();
      REQUIRE(++steps < 20000);  // else somebody waits for ever
      if (requests == 0) resume_all();
    }
    CHECK(!engine_.step());
    ended_.clear();
    check_all_is_free(engine_);
  }

  void ask() {
    Asked asked;
    Request request;
    request.prompt = draw_prompt();
    if (!ended_.empty() && dice_.chance(answers_are_long_ ? 10 : 60)) go_on(request);
    asked.number = ++asked_;
    request.priority = asked.priority = dice_.chance(80) ? 0 : dice_.between(-1, 1);
    if (dice_.chance(10)) request.cache_salt = "salt";
    asked.prompt = request.prompt;
    GenerationOptions& generation = request.generation;
    const int longest = answers_are_long_ ? dice_.between(100, 300) : dice_.between(1, 60);
    generation.ignore_stop_ids = answers_are_long_;
    generation.max_new_tokens = longest;
    generation.cancel = asked.cancel.get();
    generation.sampling.temperature = dice_.chance(50) ? 0.0f : 1.0f;
    generation.sampling.seed = std::uint64_t(dice_.between(0, 1 << 30));
    const int forbidden = dice_.chance(20) ? dice_.between(2, model_.vocab_rows - 1) : -1;
    if (forbidden >= 0) generation.mask = [forbidden](std::span<float> logits) { logits[std::size_t(forbidden)] = -1; };
    asked.keeps_pages = dice_.chance(5);
    if (asked.keeps_pages)
      generation.on_prompt_logits = [next = 0](int position, std::span<const float>) mutable {
        CHECK(position == next++);
      };
    if (dice_.chance(2)) {
      generation.on_progress = [](const AnswerProgress&) { throw std::runtime_error("the caller is gone"); };
      asked.may_end_early = true;
    }
    const Sampling sampling = resolved(generation.sampling, runner_.facts().sampling);
    asked.expected = model_.answer(
        request.prompt, runner_.sizes().tokens_per_tile, longest,
        generation.ignore_stop_ids ? -1 : HashingModel::stop_id, [&](std::vector<float> logits, int number) {
          if (forbidden >= 0) logits[std::size_t(forbidden)] = -1;
          return HashingModel::choose(logits, draw_of(sampling, std::uint64_t(number), model_.vocab_rows, nullptr));
        });
    const auto told = std::make_shared<std::pair<int, int>>();
    request.on_start = [told](const Sequence&) { ++told->first; };
    request.on_end = [told](const Sequence& sequence) {
      CHECK(sequence.done());
      ++told->second;
    };
    asked.told = told;
    try {
      asked.sequence = engine_.start(std::move(request));
    } catch (const RoomError&) {
      return;  // could never run, and nothing is left of it
    }
    pending_.push_back(std::move(asked));
  }

  void disturb() {
    if (!pending_.empty() && dice_.chance(2)) {
      Asked& asked = pending_[std::size_t(dice_.between(0, int(pending_.size()) - 1))];
      asked.may_end_early = true;
      if (dice_.chance(50))
        *asked.cancel = true;
      else
        engine_.stop(*asked.sequence);
    }
    if (!pending_.empty() && dice_.chance(4)) {
      Sequence& sequence = *pending_[std::size_t(dice_.between(0, int(pending_.size()) - 1))].sequence;
      sequence.paused() ? engine_.resume(sequence) : engine_.pause(sequence);
    }
    if (dice_.chance(3)) resume_all();
    runner_.fails_to_cut = dice_.between(1, 300) == 1;
    if (runner_.fails_to_cut) {
      for (Asked& asked : pending_) asked.may_end_early = true;
    }
    if (dice_.between(1, 400) == 1) {
      runner_.fails_behind_sequence = dice_.between(0, options_.max_sequences - 1);
      for (Asked& asked : pending_) asked.may_end_early = true;
    }
  }

  void resume_all() {
    for (const Asked& asked : pending_) engine_.resume(*asked.sequence);
  }

  void step() {
    const auto before = now();
    const std::int64_t work_before = runner_.steps + runner_.pieces;
    const bool goes_on = engine_.step();
    const auto after = now();
    const auto is = [&](Finish finish) {
      return std::ranges::any_of(
          pending_, [&](const Asked& asked) { return asked.finish() == finish && !asked.sequence->paused(); });
    };
    const bool pages_are_held = std::ranges::any_of(pending_, [](const Asked& asked) {
      return asked.keeps_pages && asked.sequence->paused() && asked.finish() == Finish::running;
    });
    if (!pages_are_held) CHECK(goes_on == (is(Finish::running) || is(Finish::waiting)));
    CHECK((runner_.steps + runner_.pieces > work_before || !is(Finish::running) || pages_are_held));
    if (std::ranges::none_of(after, [](const State& state) { return state.finish == Finish::running; }))
      check_all_is_free(engine_);  // who waits holds nothing
    runner_.fails_behind_sequence = -1;
    check_order(before, after);
    check_pages();
    std::erase_if(pending_, [&](Asked& asked) {
      CHECK(asked.told->second == int(asked.sequence->done()));
      if (!asked.sequence->done()) return false;
      check_answer(asked);
      ended_.push_back(std::move(asked));
      return true;
    });
    while (ended_.size() > 6) ended_.pop_front();
  }

 private:
  struct State {
    Finish finish;
    int preemptions;
  };
  /// Of those that are pending.
  std::vector<State> now() const {
    std::vector<State> states;
    for (const Asked& asked : pending_) states.push_back({asked.finish(), asked.sequence->preemptions()});
    return states;
  }

  EngineOptions make_options() {
    EngineOptions options;
    options.kv_tokens =
        answers_are_long_ ? dice_.between(330, 400) : dice_.between(200, dice_.chance(50) ? 1000 : 4000);
    options.max_sequences = dice_.between(1, 6);
    options.max_rows = options.max_sequences + dice_.between(0, 150);
    options.max_logit_rows = dice_.between(0, options.max_rows);
    options.feature_tokens = dice_.between(50, 800);
    options.draft_tokens = dice_.chance(50) ? 0 : dice_.between(1, 8);
    options.step_ms = dice_.chance(50) ? 0 : 1e-6;  // pieces as small as they may be
    return options;
  }

  const Picture& draw_picture() { return pictures_[std::size_t(dice_.between(0, int(pictures_.size()) - 1))]; }

  Prompt draw_prompt() {
    Prompt prompt;
    prompt.ids = prefixes_[std::size_t(dice_.between(0, int(prefixes_.size()) - 1))];
    if (dice_.chance(answers_are_long_ ? 5 : 40)) {
      for (int number = dice_.between(1, 3); number > 0; --number)
        prompt.pictures.push_back({std::size_t(dice_.between(0, int(prompt.ids.size()))), draw_picture()});
      std::ranges::sort(prompt.pictures, {}, &Prompt::Place::at);
    }
    for (int number = dice_.between(0, 40); number > 0; --number)
      prompt.ids.push_back(dice_.between(2, model_.vocab_rows - 1));
    return prompt;
  }

  /// The next turn behind a request that has ended, or another prompt that begins as that one did.
  void go_on(Request& request) {
    const auto at = ended_.begin() + dice_.between(0, int(ended_.size()) - 1);
    Prompt prompt = at->prompt;
    const auto answer = at->sequence->generated();
    prompt.ids.insert(prompt.ids.end(), answer.begin(), answer.end());
    if (dice_.chance(30)) {  // not all of it, perhaps another picture
      prompt.ids.resize(std::size_t(dice_.between(1, int(prompt.ids.size()))));
      while (!prompt.pictures.empty() && prompt.pictures.back().at > prompt.ids.size()) prompt.pictures.pop_back();
      if (!prompt.pictures.empty() && dice_.chance(50))
        prompt.pictures[std::size_t(dice_.between(0, int(prompt.pictures.size()) - 1))].picture = draw_picture();
    }
    prompt.ids.insert(prompt.ids.end(), request.prompt.ids.begin(), request.prompt.ids.end());
    request.prompt = std::move(prompt);
  }

  /// Whether one may wait for what the other computes.
  static bool have_common_page(const Sequence& a, const Sequence& b) {
    const auto page = [](const Sequence& sequence) { return sequence.tokens().first(kv_page_tokens); };
    return std::min(a.length(), b.length()) > kv_page_tokens && std::ranges::equal(page(a), page(b));
  }

  /// First come, first served among equals: of those that waited, none runs, or has run, whose turn is after one that
  /// waits on, more often than eight times. And who ran first keeps his pages, unless somebody came before him.
  void check_order(const std::vector<State>& before, const std::vector<State>& after) {
    const auto was_admitted = [&](std::size_t i) {
      return before[i].finish == Finish::waiting && after[i].finish != Finish::waiting && !pending_[i].may_end_early;
    };
    const auto waits_on = [&](std::size_t i) {
      return before[i].finish == Finish::waiting && after[i].finish == Finish::waiting &&
             before[i].preemptions == after[i].preemptions && !pending_[i].sequence->paused() &&
             std::ranges::none_of(pending_, [&](const Asked& other) {
               return other.finish() == Finish::running && have_common_page(*other.sequence, *pending_[i].sequence);
             });
    };
    Asked* first_waiting = nullptr;
    std::size_t first_running = pending_.size();  // none
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      CHECK(after[i].preemptions <= 2);
      if (waits_on(i) && (!first_waiting || pending_[i].comes_before(*first_waiting))) first_waiting = &pending_[i];
      if (before[i].finish == Finish::running && !pending_[i].sequence->paused() &&
          (first_running == pending_.size() || pending_[i].comes_before(pending_[first_running])))
        first_running = i;
    }
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      if (!was_admitted(i)) continue;
      if (first_waiting && first_waiting->comes_before(pending_[i])) CHECK(++first_waiting->overtaken <= 8);
      if (first_running < pending_.size() && pending_[i].comes_before(pending_[first_running]))
        first_running = pending_.size();
    }
    if (first_running < pending_.size()) CHECK(after[first_running].finish != Finish::waiting);
  }

  /// A page is free or somebody refers to it, and never both.
  void check_pages() const {
    const KvPool& pool = engine_.pool();
    for (const KvGroup group : all_kv_groups) {
      int unused = 0;
      for (int page = 0; page < pool.count(group); ++page) unused += pool.references(group, page) == 0;
      CHECK(pool.free(group) == unused);
    }
  }

  static void check_answer(const Asked& asked) {
    const auto generated = asked.sequence->generated();
    const Finish finish = asked.finish();
    CHECK(asked.told->first == int(asked.sequence->was_started()));
    REQUIRE(generated.size() <= asked.expected.size());
    CHECK(std::ranges::equal(generated, std::span(asked.expected).first(generated.size())));
    if (finish == Finish::stop_token || finish == Finish::length)
      CHECK(generated.size() == asked.expected.size());
    else
      CHECK(asked.may_end_early);
  }

  Dice dice_;
  bool answers_are_long_;  ///< far more than the prompts for which requests are let in: pages get short
  HashingModel model_;
  HashingRunner runner_;
  EngineOptions options_;
  std::array<std::vector<std::int32_t>, 4> prefixes_;
  std::vector<Picture> pictures_;
  Engine engine_;
  int asked_ = 0;
  std::vector<Asked> pending_;  ///< in the order of their start
  std::deque<Asked> ended_;
};

TEST_CASE("Whatever comes beside it, a request's answer is that of the definition") {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    Simulation(seed).run(25);
  }
}

/// Three requests of one prefix and one picture in an engine that runs two. Ends with one that is ended at some step.
void cancel_one(int victim, int at_step, bool by_flag) {
  const HashingModel model{.window = 40};
  HashingRunner runner(model, 10);
  Engine engine(runner, {.kv_tokens = 400, .max_sequences = 2, .max_rows = 24, .feature_tokens = 30});
  const Picture picture(Image{4, 4, std::vector<std::uint8_t>(48, 9)}, {.max_tiles = 1});
  std::vector<Asked> all(3);
  for (int i = 0; i < 3; ++i) {
    Asked& asked = all[std::size_t(i)];
    asked.prompt.ids = std::vector<std::int32_t>(std::size_t(60 + 5 * i), 20);
    asked.prompt.pictures = {{std::size_t(30), picture}};
    const auto greedy = [](const std::vector<float>& logits, int) {
      return HashingModel::choose(logits, {.ids = int(logits.size())});
    };
    asked.expected = model.answer(asked.prompt, 10, 8, -1, greedy);
    GenerationOptions generation{.max_new_tokens = 8, .ignore_stop_ids = true, .cancel = asked.cancel.get()};
    asked.sequence = engine.start({.prompt = asked.prompt, .generation = generation});
  }
  for (int step = 0; step < 200; ++step) {
    if (step == at_step && by_flag) *all[std::size_t(victim)].cancel = true;
    if (step == at_step && !by_flag) engine.stop(*all[std::size_t(victim)].sequence);
    if (!engine.step()) break;
  }
  CHECK(runner.tiles_seen <= 1);
  for (int i = 0; i < 3; ++i) {
    const Sequence& sequence = *all[std::size_t(i)].sequence;
    const auto& expected = all[std::size_t(i)].expected;
    REQUIRE(sequence.done());
    REQUIRE(sequence.generated().size() <= expected.size());
    CHECK(std::ranges::equal(sequence.generated(), std::span(expected).first(sequence.generated().size())));
    const bool ended_early = i == victim && sequence.finish() == Finish::cancelled;
    CHECK((ended_early || sequence.finish() == Finish::length));
    CHECK(ended_early == (sequence.generated().size() < expected.size()));
  }
  all.clear();
  check_all_is_free(engine);
}

TEST_CASE("A request that is cancelled at any step, waiting or running, takes nothing from the others") {
  for (int victim = 0; victim < 3; ++victim) {
    for (int at_step = 0; at_step < 30; ++at_step) {
      for (const bool by_flag : {false, true}) {
        CAPTURE(victim);
        CAPTURE(at_step);
        CAPTURE(by_flag);
        cancel_one(victim, at_step, by_flag);
      }
    }
  }
}

}  // namespace
