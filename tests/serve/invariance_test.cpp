// The promise of the engine as one test: the bits of an answer are those that it has alone, in whatever company, in
// whatever pieces its prompt and its pictures run, interrupted or not, known before or not, guessed ahead or not, and
// with any number of threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../support/dice.hpp"
#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Another one each time; a failure names it, and IVL_SEED runs it again.
std::uint64_t seed_of_run() {
  if (const char* given = std::getenv("IVL_SEED")) return std::stoull(given);
  return std::random_device{}();
}

std::vector<Request> draw_requests(Dice& dice, const Processor& processor, int number) {
  std::vector<Picture> pictures;
  for (int i = 0; i < 4; ++i)
    pictures.push_back(Picture(noise_picture(dice.between(10, 200), dice.between(10, 200), unsigned(i)),
                               processor.tile_rules(dice.between(1, 4))));
  const auto draw_id = [&] { return dice.between(1, 200); };
  std::vector<std::vector<std::int32_t>> prefixes(3);
  for (auto& prefix : prefixes) {
    prefix.resize(std::size_t(dice.between(1, 150)));
    std::ranges::generate(prefix, draw_id);
  }
  std::vector<Request> requests;
  for (int i = 0; i < number; ++i) {
    Request request;
    Prompt& prompt = request.prompt;
    prompt.ids = prefixes[std::size_t(dice.between(0, 2))];
    if (dice.chance(40))
      prompt.pictures.push_back(
          {std::size_t(dice.between(0, int(prompt.ids.size()))), pictures[std::size_t(dice.between(0, 3))]});
    for (int own = dice.between(1, 30); own > 0; --own) prompt.ids.push_back(draw_id());
    GenerationOptions& generation = request.generation;
    generation.ignore_stop_ids = true;
    generation.max_new_tokens = dice.chance(20) ? dice.between(60, 120) : dice.between(1, 12);
    if (dice.chance(50)) generation.sampling = {.temperature = 0.8f, .top_p = 0.9f, .seed = std::uint64_t(i)};
    if (dice.chance(50)) generation.logprobs = 2;
    requests.push_back(std::move(request));
  }
  return requests;
}

/// Ids, and every logprob to the bit.
void check_same(const Sequence& alone, const Sequence& beside) {
  CHECK(ids_of(alone) == ids_of(beside));
  REQUIRE(alone.logprobs().size() == beside.logprobs().size());
  for (std::size_t i = 0; i < alone.logprobs().size(); ++i) {
    const TokenLogprobs &a = alone.logprobs()[i], &b = beside.logprobs()[i];
    const auto same = [](const TokenLogprob& x, const TokenLogprob& y) {
      return x.id == y.id && x.logprob == y.logprob;
    };
    CHECK((same(a.chosen, b.chosen) && std::ranges::equal(a.top, b.top, same)));
  }
}

/// What came to pass on the way to the answers. Whether something is guessed depends on what the model says, so on the
/// instructions too.
struct Company {
  std::int64_t preemptions = 0, cached = 0;
};

template <VlmConfig C>
Company check_invariance(const char* name, const char* format, std::uint64_t seed) {
  CAPTURE(name);
  CAPTURE(seed);
  Dice dice(seed);
  cpu::Context ctx(1);
  const auto checkpoint = load<C>(ctx, tiny_folder(name, format));
#ifdef __SANITIZE_ADDRESS__
  constexpr int number = 16;  // ten times as slow
#else
  constexpr int number = 64;
#endif
  const std::vector<Request> requests = draw_requests(dice, checkpoint.processor, number);
  std::vector<std::shared_ptr<Sequence>> alone;
  {
    RunnerAndEngine<C, cpu::Context, bf16> on(ctx, checkpoint.vlm, {.kv_tokens = 1024});
    for (std::size_t i = 0; i < requests.size(); ++i) {
      Request request = requests[i];
      request.cache_salt = std::to_string(i);  // nothing is known of those before
      alone.push_back(run(on.engine, std::move(request)));
    }
  }
  Company company;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    cpu::Context threads(round + 1);
    EngineOptions options{.kv_tokens = dice.between(600, 900), .max_sequences = round == 0 ? 64 : dice.between(2, 12)};
    options.max_rows = options.max_sequences + dice.between(0, 100);
    options.draft_tokens = round == 0 ? 4 : dice.between(0, 6);
    options.step_ms = dice.chance(50) ? 1e-6 : 0;
    RunnerAndEngine<C, cpu::Context, bf16> on(threads, checkpoint.vlm, options);
    const auto beside = run_all(on.engine, requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      CAPTURE(i);
      check_same(*alone[i], *beside[i]);
    }
    company.preemptions += on.engine.status().preemptions;
    company.cached += on.engine.status().cached_tokens;
  }
  return company;
}

template <VlmConfig C>
void check_invariance(const char* name, const char* format) {
  const Company company = check_invariance<C>(name, format, 1);
#ifndef __SANITIZE_ADDRESS__  // where there is less of a crowd
  CHECK(company.preemptions > 0);
  CHECK(company.cached > 0);
  check_invariance<C>(name, format, seed_of_run());
#else
  CHECK(company.cached > 0);
#endif
}

TEST_CASE("The bits of an answer are those that it has alone: a dense model, and one of experts and windows") {
  check_invariance<qwen3_tiny>("qwen3_tiny", "hf");
  check_invariance<gpt_oss_tiny>("gpt_oss_tiny", "hf");
}

}  // namespace
