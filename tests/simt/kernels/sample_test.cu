#include "ivl/cuda/rows/sample.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ivl/cpu/sample.hpp"
#include "ivl/serve/sampling.hpp"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

constexpr float no_number = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
// Slices of 256 logits: 17 thousand are more of them than a block has threads.
constexpr cuda::ArgmaxPolicy small{.threads_per_block = 64, .logits_per_thread = 4};

/// Rows of equal width with `gap` scalars between them, which are larger than every logit and nobody's.
template <cuda::ArgmaxPolicy P>
std::vector<std::int32_t> argmax_of(cuda::Context& ctx, const std::vector<std::vector<float>>& rows, int gap) {
  const std::size_t width = rows.empty() ? 1 : rows[0].size(), stride = width + std::size_t(gap);
  std::vector<float> memory(rows.size() * stride, infinity);
  for (std::size_t r = 0; r < rows.size(); ++r) std::copy(rows[r].begin(), rows[r].end(), &memory[r * stride]);
  DeviceArray<float> logits(memory);
  DeviceArray<std::int32_t> ids(rows.size());
  argmax<P>(ctx, Rows<const float>(logits.data(), std::int64_t(rows.size()), std::int64_t(width), std::int64_t(stride)),
            ids.data());
  return ids.download();
}

/// As the contract says it, one logit after the other.
std::int32_t plain_argmax(const std::vector<float>& row) {
  std::int32_t best = -1;
  for (std::size_t id = 0; id < row.size(); ++id) {
    if (std::isnan(row[id])) return -1;
    if (row[id] > (best < 0 ? -infinity : row[std::size_t(best)])) best = std::int32_t(id);
  }
  return best;
}

/// A row for each of the options, all with the same logits: what the device draws, what the CPU does, and the `uses`
/// that each leaves.
struct Drawn {
  std::vector<std::int32_t> found, wanted, found_uses, wanted_uses;

  /// Of row r the first logits.size() - hidden[r] ids may be drawn; all of them where `hidden` is empty.
  Drawn(cuda::Context& ctx, const std::vector<float>& logits, const std::vector<Sampling>& options,
        const std::vector<int>& held_ids = {}, const std::vector<int>& hidden = {}) {
    const std::size_t rows = options.size(), width = logits.size(), stride = width + 3;
    std::vector<float> memory(rows * stride, infinity);
    wanted_uses.assign(rows * width, 0);
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy(logits.begin(), logits.end(), &memory[r * stride]);
      for (const int id : held_ids) wanted_uses[r * width + std::size_t(id)] = 1 + id % 4;
    }
    DeviceArray<float> device_logits(memory);
    DeviceArray<std::int32_t> device_uses(wanted_uses);
    const auto draws_with = [&](std::int32_t* uses) {
      std::vector<Draw> draws;
      for (std::size_t r = 0; r < rows; ++r) {
        const int ids = int(width) - (hidden.empty() ? 0 : hidden[r]);
        draws.push_back(draw_of(options[r], 0, ids, penalises(options[r]) ? uses + r * width : nullptr));
      }
      return draws;
    };
    const auto view = [&](float* data) {
      return Rows<float>(data, std::int64_t(rows), std::int64_t(width), std::int64_t(stride));
    };
    DeviceArray<Draw> device_draws(draws_with(device_uses.data()));
    DeviceArray<std::int32_t> ids(rows);
    draw<cuda::DrawPolicy{.threads_per_block = 64}>(ctx, device_draws.data(), view(device_logits.data()), ids.data());
    found = ids.download();
    found_uses = device_uses.download();

    cpu::Context cpu(1);
    wanted.resize(rows);
    draw(cpu, draws_with(wanted_uses.data()).data(), view(memory.data()), wanted.data());
  }
};

std::vector<float> random_logits(int width, float step) {
  std::mt19937 random{unsigned(width)};
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits;
  for (int i = 0; i < width; ++i) logits.push_back(step * std::round(normal(random) / step));
  return logits;
}

}  // namespace

TEST_CASE("on CUDA argmax finds the largest logit of each row, wherever slices and loads end") {
  cuda::Context ctx;
  std::mt19937 random(1);
  for (const int width : {1, 3, 255, 256, 257, 1024, 20003}) {
    CAPTURE(width);
    std::vector<std::vector<float>> rows(5, std::vector<float>(std::size_t(width)));
    std::vector<std::int32_t> wanted;
    for (auto& row : rows) {
      for (float& x : row) x = float(random() % 1000) - 1500;  // all negative, and many equal
      wanted.push_back(plain_argmax(row));
    }
    for_each_order([&] {
      for (const int gap : {(4 - width % 4) % 4, 5}) CHECK(argmax_of<small>(ctx, rows, gap) == wanted);
    });
  }
  CHECK(argmax_of<small>(ctx, {}, 0).empty());
}

TEST_CASE("on CUDA argmax takes the lowest of equal logits, zeros of both signs among them") {
  cuda::Context ctx;
  for_each_order([&] {
    for (const int gap : {4, 1}) {
      std::vector<float> equal(700, -1.5f), zeros(700, -1.0f), first(700, -0.0f);
      equal[300] = equal[650] = equal[301] = 2;
      zeros[400] = -0.0f;
      zeros[401] = zeros[5] = 0.0f;
      zeros[4] = -0.0f;
      first[1] = 0;
      CHECK(argmax_of<small>(ctx, {equal, zeros, first}, gap) == std::vector<std::int32_t>{300, 4, 0});
    }
  });
}

TEST_CASE("on CUDA argmax treats NaN and infinities as the greedy sampler does") {
  cuda::Context ctx;
  for_each_order([&] {
    std::vector<std::vector<float>> rows(6, std::vector<float>(700, -2.0f));
    rows[0][699] = no_number;
    rows[0][5] = infinity;
    rows[1][0] = -no_number;
    rows[2].assign(700, -infinity);
    rows[3].assign(700, no_number);
    rows[3][0] = -infinity;
    rows[4][650] = infinity;
    rows[5][0] = -infinity;
    rows[5][1] = -std::numeric_limits<float>::max();
    std::vector<std::int32_t> wanted;
    for (const auto& row : rows) wanted.push_back(plain_argmax(row));
    CHECK(wanted == std::vector<std::int32_t>{-1, -1, -1, -1, 650, 2});
    CHECK(argmax_of<small>(ctx, rows, 0) == wanted);
  });
}

TEST_CASE("on CUDA argmax leaves the context's counters zero, so that the next one finds its last block again") {
  cuda::Context ctx;
  std::vector<float> row(5000, 0.0f);
  for (const int id : {4999, 17, 2500}) {
    row[std::size_t(id)] = 1 + float(id);
    const auto found = argmax_of<cuda::ArgmaxPolicy{}>(ctx, {row, row, row}, 0);
    CHECK(found == std::vector<std::int32_t>(3, plain_argmax(row)));
    row[std::size_t(id)] = 0;
  }
}

// The edges between tokens are sums of at most a thousand weights, each of which may be off by 2 units of 2^-24: with
// some 300 numbers at random, one lies within reach of an edge once in ten runs with other seeds. These have none.
TEST_CASE("on CUDA draw takes the token that the CPU takes") {
  cuda::Context ctx;
  // Logits that all differ, ones with many equals, one token, all equal.
  for (const auto& logits :
       {random_logits(900, 0x1p-16f), random_logits(300, 0.5f), std::vector<float>{3}, std::vector<float>(70, -1)}) {
    std::vector<Sampling> options;
    std::uint64_t seed = 1;
    for (const float temperature : {0.2f, 1.0f, 3.0f}) {
      for (const int top_k : {0, 1, 7, 60, 5000}) {
        for (const float top_p : {1.0f, 0.9f, 0.3f}) {
          options.push_back({.temperature = temperature, .top_k = top_k, .top_p = top_p, .seed = seed++});
          options.push_back(
              {.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = 0.05f, .seed = seed++});
        }
      }
    }
    options.push_back({.temperature = 0});
    const std::size_t width = logits.size();
    CAPTURE(width);
    for_each_order([&] {
      const Drawn drawn(ctx, logits, options);
      CHECK(drawn.found == drawn.wanted);
    });
  }
}

TEST_CASE("on CUDA draw applies the penalties before all else, to greedy rows too") {
  cuda::Context ctx;
  const std::vector<float> logits = random_logits(130, 0x1p-16f);
  std::vector<int> held;
  for (int id = 0; id < 130; id += 3) held.push_back(id);
  held.push_back(plain_argmax(logits));
  std::vector<Sampling> options;
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    options.push_back({.temperature = 0.7f, .top_k = 30, .repetition_penalty = 1.3f, .seed = seed});
    options.push_back({.temperature = 5, .repetition_penalty = 0.6f, .seed = seed});
    options.push_back({.temperature = 0.9f, .top_p = 0.9f, .frequency_penalty = 0.6f, .seed = seed});
    options.push_back({.temperature = 1,
                       .min_p = 0.01f,
                       .repetition_penalty = 1.1f,
                       .frequency_penalty = -0.2f,
                       .presence_penalty = 0.8f,
                       .seed = seed});
  }
  options.push_back({.temperature = 0, .repetition_penalty = 2});
  options.push_back({.temperature = 0, .frequency_penalty = 0.7f});
  options.push_back({.temperature = 0, .presence_penalty = 0.7f});
  options.push_back({.temperature = 0, .repetition_penalty = 1});
  for_each_order([&] {
    const Drawn drawn(ctx, logits, options, held);
    CHECK(drawn.found == drawn.wanted);
    CHECK(drawn.found.back() == held.back());
    CHECK(drawn.found_uses == drawn.wanted_uses);  // with what was drawn
  });
}

TEST_CASE("on CUDA draw looks at as many ids of a row as its draw says") {
  cuda::Context ctx;
  std::vector<float> logits(200);
  for (std::size_t id = 0; id < logits.size(); ++id) logits[id] = 0.1f * float(id);
  const std::vector<int> hidden{0, 1, 77, 199, 130, 5, 60};
  const std::vector<Sampling> options{{.temperature = 0},
                                      {.temperature = 0},
                                      {.temperature = 1, .seed = 1},
                                      {.temperature = 1, .seed = 2},
                                      {.temperature = 1, .top_k = 70, .seed = 3},
                                      {.temperature = 2, .top_p = 0.6f, .repetition_penalty = 1.2f, .seed = 4},
                                      {.temperature = 0, .repetition_penalty = 50}};
  for_each_order([&] {
    const Drawn drawn(ctx, logits, options, {100, 139, 194}, hidden);
    CHECK(drawn.found == drawn.wanted);
    CHECK(drawn.found_uses == drawn.wanted_uses);
    CHECK(drawn.found[0] == 199);
    CHECK(drawn.found[1] == 198);
    CHECK(drawn.found[3] == 0);
    CHECK(drawn.found[6] == 138);
  });
}

TEST_CASE("on CUDA draw keeps no token more than top-p needs, and every one that min-p lets pass") {
  cuda::Context ctx;
  std::vector<Sampling> options;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    options.push_back({.temperature = 1, .top_p = 0.5f, .seed = seed});  // of two equals, exactly one
  CHECK(Drawn(ctx, {2, 2}, options).found == std::vector<std::int32_t>(8, 0));
  for (Sampling& o : options) {
    o.top_p = 1;
    o.min_p = 1;
  }
  const Drawn both(ctx, {2, 2}, options);
  CHECK(both.found == both.wanted);
  CHECK(std::count(both.found.begin(), both.found.end(), 1) > 0);
}

TEST_CASE("on CUDA draw takes what argmax takes where nothing has a weight, or a logit is NaN") {
  cuda::Context ctx;
  const std::vector<Sampling> options{{.temperature = 1, .seed = 5},
                                      {.temperature = 1, .top_k = 3, .top_p = 0.5f, .seed = 5},
                                      {.temperature = 1, .min_p = 0.5f, .seed = 6},
                                      {.temperature = 1, .repetition_penalty = 1.5f, .seed = 6}};
  for_each_order([&] {
    for (const float bad : {no_number, infinity, -infinity}) {
      for (const int first : {0, 7}) {
        for (const int number : {1, 43}) {
          CAPTURE(bad);
          CAPTURE(first);
          CAPTURE(number);
          std::vector<float> logits(50, 0.0f);
          std::fill_n(logits.begin() + first, number, bad);
          const Drawn drawn(ctx, logits, options);
          CHECK(drawn.found == drawn.wanted);
          CHECK(drawn.found_uses == drawn.wanted_uses);
          for (const std::int32_t id : drawn.found) {
            if (bad != -infinity) {
              CHECK(id == plain_argmax(logits));
            } else {
              CHECK(logits[std::size_t(id)] == 0);
            }
          }
        }
      }
    }
  });
}

TEST_CASE("on CUDA rows of logits may lie further apart than 32 bits count") {
  cuda::Context ctx;
  std::vector<float> values;
  for (int r = 0; r < FarRows<float>::rows; ++r) {
    for (int id = 0; id < 300; ++id) values.push_back(id == 40 + 100 * r ? 3.0f : 0.001f * float(id));
  }
  FarRows<float> logits(values);
  DeviceArray<std::int32_t> ids(FarRows<float>::rows);
  const std::vector<std::int32_t> wanted{40, 140, 240};
  argmax(ctx, Rows<const float>(logits.view()), ids.data());
  CHECK(ids.download() == wanted);
  DeviceArray<Draw> draws(std::vector<Draw>(wanted.size(), {.uniform = 0.5, .temperature = 1, .top_k = 1, .ids = 300}));
  DeviceArray<std::int32_t> drawn(wanted.size());
  draw(ctx, draws.data(), logits.view(), drawn.data());
  CHECK(drawn.download() == wanted);
}

#if !defined(__CUDACC__)
TEST_CASE("on CUDA a slice of argmax publishes what it found before it counts itself in") {
  const std::vector<float> logits = random_logits(2000, 0x1p-16f);
  simt::options().order = simt::Order::random;
  for (simt::options().seed = 1; simt::options().seed <= 6; ++simt::options().seed) {
    cuda::Context ctx;  // whose working memory holds nothing yet
    CHECK(argmax_of<small>(ctx, {logits, logits}, 3) == std::vector<std::int32_t>(2, plain_argmax(logits)));
  }
  simt::options() = {};
}
#endif
