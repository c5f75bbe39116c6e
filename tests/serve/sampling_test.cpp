// Frequencies of drawn tokens against exact probabilities, worked out in double from the definitions.
#include "ivl/serve/sampling.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "ivl/cpu/sample.hpp"

namespace {

using namespace ivl;

/// Probabilities by transformers' logits processors: penalty, temperature, top-k, top-p, min-p.
std::vector<double> exact_probabilities(const std::vector<float>& logits, const Sampling& o,
                                        const std::vector<int>& seen) {
  std::vector<double> score(logits.begin(), logits.end());
  for (const int id : seen)
    score[std::size_t(id)] *=
        score[std::size_t(id)] > 0 ? 1 / double(o.repetition_penalty) : double(o.repetition_penalty);
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
  if (o.top_k > 0) order.resize(std::min(order.size(), std::size_t(o.top_k)));
  std::vector<double> p(score.size(), 0.0);
  double total = 0;
  for (const std::size_t id : order) total += p[id] = std::exp((score[id] - score[order[0]]) / o.temperature);
  double before = 0;
  std::vector<double> kept(score.size(), 0.0);
  double kept_total = 0;
  for (const std::size_t id : order) {
    if (id != order[0] && (before / total >= o.top_p || p[id] < o.min_p)) break;
    before += p[id];
    kept_total += kept[id] = p[id];
  }
  for (double& value : kept) value /= kept_total;
  return kept;
}

/// Token number `index` of an answer whose sequence holds `seen`.
std::int32_t drawn(const Sampling& options, std::uint64_t index, std::vector<float> logits,
                   const std::vector<int>& seen = {}) {
  static cpu::Context ctx(1);
  const int ids = int(logits.size());
  std::vector<std::int32_t> uses(seen.empty() ? 0 : logits.size());
  for (const int id : seen) uses[std::size_t(id)] = 1;
  const Draw what = draw_of(options, index, ids, seen.empty() ? nullptr : uses.data());
  std::int32_t id = -1;
  draw(ctx, &what, Rows<float>(logits.data(), 1, ids), &id);
  return id;
}

void check_frequencies(const std::vector<float>& logits, const Sampling& options, const std::vector<int>& seen = {}) {
  CAPTURE(options.temperature);
  CAPTURE(options.top_k);
  CAPTURE(options.top_p);
  CAPTURE(options.min_p);
  const std::vector<double> p = exact_probabilities(logits, options, seen);
  const int draws = logits.size() > 100 ? 3000 : 10000;
  std::vector<int> count(logits.size(), 0);
  for (int i = 0; i < draws; ++i) ++count[std::size_t(drawn(options, std::uint64_t(i), logits, seen))];
  // Pearson's statistic; rare tokens are counted together.
  double statistic = 0, rare_expected = 0;
  int cells = 0, rare = 0;
  for (std::size_t id = 0; id < p.size(); ++id) {
    if (p[id] == 0) CHECK(count[id] == 0);
    const double expected = p[id] * draws;
    if (expected < 10) {
      rare_expected += expected;
      rare += count[id];
      continue;
    }
    statistic += (count[id] - expected) * (count[id] - expected) / expected;
    ++cells;
  }
  if (rare_expected >= 10) {
    statistic += (rare - rare_expected) * (rare - rare_expected) / rare_expected;
    ++cells;
  } else {
    CHECK(rare <= rare_expected + 6 * std::sqrt(rare_expected) + 6);
  }
  // Mean cells - 1, variance 2 (cells - 1); with fixed seeds this passes or fails for good.
  CHECK(statistic <= cells - 1 + 5 * std::sqrt(2.0 * std::max(1, cells - 1)));
}

std::vector<float> random_logits(int number, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> logits(std::size_t(number), 0);
  for (float& value : logits) value = normal(random);
  return logits;
}

TEST_CASE("Drawn tokens have the frequencies that temperature, top-k, top-p and min-p define") {
  for (const int number : {2, 13, 400}) {
    CAPTURE(number);
    const auto logits = random_logits(number, 1.5f, unsigned(number));
    std::uint64_t seed = 1;
    for (const float temperature : {0.3f, 1.0f, 2.5f}) {
      check_frequencies(logits, {.temperature = temperature, .seed = seed++});
      for (const int top_k : {1, 5, 100, 399, 1000})
        check_frequencies(logits, {.temperature = temperature, .top_k = top_k, .seed = seed++});
      for (const float top_p : {0.1f, 0.5f, 0.9f, 0.99f})
        check_frequencies(logits, {.temperature = temperature, .top_p = top_p, .seed = seed++});
      for (const float min_p : {0.01f, 0.2f, 0.9f})
        check_frequencies(logits, {.temperature = temperature, .min_p = min_p, .seed = seed++});
      check_frequencies(logits, {.temperature = temperature, .top_k = 7, .top_p = 0.8f, .seed = seed++});
      check_frequencies(logits,
                        {.temperature = temperature, .top_k = 90, .top_p = 0.95f, .min_p = 0.03f, .seed = seed++});
    }
  }
}

TEST_CASE("The repetition penalty divides positive logits and multiplies negative ones, before the temperature") {
  const auto logits = random_logits(13, 1.5f, 3);
  check_frequencies(logits, {.temperature = 0.7f, .repetition_penalty = 1.7f, .seed = 4}, {0, 2, 3, 7, 9});
  check_frequencies(logits, {.temperature = 0.7f, .top_p = 0.7f, .repetition_penalty = 0.5f, .seed = 5}, {1, 4, 12});
}

TEST_CASE("The random numbers of a seed are SplitMix64's") {
  // The series of 1234567 as everyone gives it.
  const std::uint64_t published[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                     4593380528125082431u, 16408922859458223821u};
  for (std::uint64_t i = 0; i < 5; ++i) CHECK(uniform(1234567, i) == double(published[i] >> 11) * 0x1p-53);
  const auto series = [](std::uint64_t seed) {
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < 40; ++i)
      ids.push_back(drawn({.temperature = 1, .seed = seed}, i, std::vector<float>(50)));
    return ids;
  };
  CHECK(series(0) == series(0));
  CHECK(series(0) != series(1));
  CHECK(series(1) != series(2));
}

TEST_CASE("Logprobs are logarithms of softmax, the most probable first") {
  std::mt19937_64 random(3);
  std::vector<float> logits(300);
  for (float& x : logits) x = float(int(random() % 64)) / 4 - 8;  // some are equal
  double total = 0;
  for (const float x : logits) total += std::exp(double(x));
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return logits[std::size_t(a)] > logits[std::size_t(b)]; });
  const auto expected = [&](int id) { return std::log(std::exp(double(logits[std::size_t(id)])) / total); };
  for (const int most : {0, 1, 7, 20, 300}) {
    const TokenLogprobs all = logprobs_of(logits, 17, most);
    CHECK(all.chosen.id == 17);
    CHECK(std::abs(all.chosen.logprob - expected(17)) < 1e-6);
    REQUIRE(int(all.top.size()) == most);
    for (int i = 0; i < most; ++i) {
      const TokenLogprob& told = all.top[std::size_t(i)];
      CHECK(told.id == order[std::size_t(i)]);
      CHECK(std::abs(told.logprob - expected(told.id)) < 1e-6 * (1 - expected(told.id)));
    }
  }
  CHECK(logprobs_of(logits, 300, 0).chosen.logprob == -std::numeric_limits<float>::infinity());
  logits[5] = -std::numeric_limits<float>::infinity();
  CHECK(logprobs_of(logits, 5, 0).chosen.logprob == -std::numeric_limits<float>::infinity());
}

}  // namespace
