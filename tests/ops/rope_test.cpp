#include "ivl/cpu/rope.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/support/rounding.hpp"
#include "tests/support/yarn_ramp.hpp"

namespace {

using namespace ivl;
using ivl_test::keep_worst;

/// Angles for rows (position, rope length), head_dim wide.
std::vector<float> angles_of(cpu::Context& ctx, const RopeFacts& facts, int head_dim,
                             const std::vector<std::int32_t>& positions, const std::vector<std::int32_t>& lengths) {
  constexpr int gap = 5;
  const int rows = int(positions.size());
  std::vector<float> memory(std::size_t(rows * (head_dim + gap)), std::numeric_limits<float>::quiet_NaN());
  rope_angles(ctx, facts, positions.data(), lengths.data(), Rows<float>(memory.data(), rows, head_dim, head_dim + gap));
  std::vector<float> result;
  for (int row = 0; row < rows; ++row) {
    const float* from = memory.data() + row * (head_dim + gap);
    result.insert(result.end(), from, from + head_dim);
    for (int i = head_dim; i < head_dim + gap; ++i) REQUIRE(std::isnan(from[i]));
  }
  return result;
}

TEST_CASE("frequencies are the published ones, within the roundings of float") {
  struct Known {
    double base;
    int head_dim, i;
    double frequency;
  };
  for (const Known& known :
       {Known{1e6, 64, 0, 1}, Known{1e6, 64, 1, 0.649381632}, Known{1e6, 64, 2, 0.421696503}, Known{1e6, 64, 16, 0.001},
        Known{1e6, 64, 31, 1.53992653e-06}, Known{1e6, 128, 1, 0.805842188}, Known{1e6, 128, 63, 1.24093776e-06},
        Known{5e7, 128, 1, 0.758060022}, Known{5e7, 128, 63, 2.63831351e-08}}) {
    float f[64];
    cpu::detail::inverse_frequencies(float(known.base), known.head_dim, f);
    INFO(known.base, " ", known.head_dim, " ", known.i);
    // The power and its reciprocal are rounded (2^-24 each); the rounded exponent moves the power by at most ln base
    // 2^-25 or so; the numbers above have nine digits (5e-9).
    CHECK(std::abs(f[known.i] / known.frequency - 1) <= 2 * 0x1p-24 + std::log(known.base) * 0x1p-24 + 5e-9);
  }
}

struct KnownBits {
  int i;
  std::uint32_t bits;
};

TEST_CASE("frequencies are the reference's bits: exponent, power and reciprocal round to float one by one") {
  // In float32: 1.0 / (base ** (arange(0, head_dim, 2) / head_dim)). These change where one of the steps is left in
  // double; the power is not near the middle between two floats, so any library gives it.
  struct Known {
    float base;
    int head_dim;
    std::vector<KnownBits> frequencies;
  };
  for (const Known& known :
       {Known{1e6f, 128, {{7, 0x3e61f835}, {10, 0x3dec7fd6}, {11, 0x3dbe94c6}, {16, 0x3d0186e3}, {29, 0x3afa78f0}}},
        Known{1e6f, 96, {{10, 0x3d6655c4}, {16, 0x3c23d709}, {20, 0x3b4f3e39}, {26, 0x3a136a14}, {34, 0x386bdcf5}}},
        Known{5e7f, 128, {{11, 0x3d4294a1}, {33, 0x38e0d3b8}, {36, 0x3843e130}, {41, 0x374423f6}, {43, 0x36e16d1d}}}}) {
    float f[64];
    cpu::detail::inverse_frequencies(known.base, known.head_dim, f);
    for (const KnownBits& frequency : known.frequencies) {
      INFO(known.base, " ", known.head_dim, " ", frequency.i);
      CHECK(std::bit_cast<std::uint32_t>(f[frequency.i]) == frequency.bits);
    }
  }
}

TEST_CASE("cosines and sines are those of the float angle, correctly rounded but for a hair") {
  cpu::Context ctx(2);
  const RopeFacts facts{.base = 1e6};
  std::vector<std::int32_t> positions;
  for (int p = 0; p < 300; ++p) positions.push_back(p < 200 ? p : p * p * 11);  // up to a million
  for (const int head_dim : {16, 48, 64, 128}) {
    const std::vector<float> angles = angles_of(ctx, facts, head_dim, positions, positions);
    float f[128];
    cpu::detail::inverse_frequencies(1e6f, head_dim, f);
    double worst = 0;
    for (std::size_t row = 0; row < positions.size(); ++row) {
      for (int i = 0; i < head_dim / 2; ++i) {
        const volatile float angle = float(positions[row]) * f[i];
        const float* found = angles.data() + row * std::size_t(head_dim);
        for (const auto& [value, exact] : {std::pair(double(found[i]), std::cos(double(angle))),
                                           std::pair(double(found[head_dim / 2 + i]), std::sin(double(angle)))}) {
          // Half a unit in the last place of float, and the error of our double.
          const double bound = 0x1p-25 * std::exp2(std::ceil(std::log2(std::abs(exact) + 1e-300))) + 0x1p-49;
          const double error = std::abs(value - exact);
          keep_worst(worst, error / bound);
        }
      }
    }
    INFO(head_dim);
    CHECK(worst <= 1);
  }
}

TEST_CASE("dynamic NTK changes nothing up to the context length") {
  cpu::Context ctx(1);
  const RopeFacts plain{.base = 1e6};
  const RopeFacts dynamic_ntk{.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 32768};
  const std::vector<std::int32_t> positions{0, 5, 1000, 32767}, lengths{1, 6, 32768, 32768};
  CHECK(angles_of(ctx, plain, 128, positions, lengths) == angles_of(ctx, dynamic_ntk, 128, positions, lengths));
}

TEST_CASE("dynamic NTK grows the base as published, beyond the context length") {
  const RopeFacts facts{.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 32768};
  struct Known {
    int length, head_dim;
    double base;
  };
  for (const Known& known :
       {Known{32769, 64, 1000063.004}, Known{32769, 128, 1000062.004}, Known{40000, 64, 1458507.08},
        Known{40000, 128, 1449795.74}, Known{65536, 64, 3108223.67}, Known{65536, 128, 3052773.67}}) {
    INFO(known.length, " ", known.head_dim);
    // Product, quotient, difference (of numbers below 4), exponent, power and product: below 16 roundings in all.
    CHECK(std::abs(cpu::detail::rope_base(facts, known.head_dim, known.length) / known.base - 1) <= 16 * 0x1p-24);
  }
}

TEST_CASE("each row's rope length is its own, whatever rows stand beside it") {
  cpu::Context ctx(2);
  const RopeFacts facts{.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 100};
  std::vector<std::int32_t> positions, lengths;
  for (int row = 0; row < 50; ++row) {
    positions.push_back(3 * row);
    lengths.push_back(row % 3 == 0 ? 90 : row % 3 == 1 ? 150 : 151);
  }
  const std::vector<float> together = angles_of(ctx, facts, 32, positions, lengths);
  for (std::size_t row = 0; row < positions.size(); ++row) {
    const std::vector<float> alone = angles_of(ctx, facts, 32, {positions[row]}, {lengths[row]});
    CHECK(std::equal(alone.begin(), alone.end(), together.begin() + std::int64_t(row) * 32));
  }
  CHECK(angles_of(ctx, facts, 32, {99}, {150}) != angles_of(ctx, facts, 32, {99}, {151}));
}

constexpr RopeFacts gpt_oss{.kind = RopeKind::yarn,
                            .base = 150000,
                            .factor = 32,
                            .context = 4096,
                            .truncate = false,
                            .attention_factor = 1.3465735902799727};

TEST_CASE("YaRN's frequencies are the published ones of GPT-OSS, with and without rounded ends of the ramp") {
  float f[32];
  struct Known {
    int i;
    double frequency, printed = 5e-9;  // half a unit of the last printed digit, relative
  };
  // The roundings of a power, two reciprocals and the ramp, whose ends are below 32 and whose length is 9.3: 8 units of
  // 2^-24 of the frequency without YaRN.
  const auto check = [&](const Known& known) {
    INFO(known.i);
    const double plain = std::pow(150000.0, -2 * known.i / 64.0);
    CHECK(std::abs(f[known.i] - known.frequency) <= known.printed * known.frequency + 8 * 0x1p-24 * plain);
  };
  cpu::detail::yarn_frequencies(gpt_oss, 64, f);
  for (const Known& known :
       {Known{0, 1}, Known{1, 0.689044306}, Known{8, 0.0508132748}, Known{9, 0.0317056962}, Known{12, 0.00679495949},
        Known{16, 0.000456483919}, Known{17, 0.000129318701}, Known{18, 3.83088124e-05}, Known{31, 3.02351143e-07}}) {
    check(known);
  }
  RopeFacts rounded = gpt_oss;
  rounded.truncate = true;
  cpu::detail::yarn_frequencies(rounded, 64, f);
  check({16, 0.00058095, 1e-5});
  check({17, 0.00022795, 3e-5});
}

TEST_CASE("YaRN's frequencies are the reference's bits: each step rounds to float") {
  // In float32, with period = base ** (arange(0, head_dim, 2) / head_dim) and the ramp r:
  //   kept = 1 - r, f = 1 / (factor * period) * (1 - kept) + 1 / period * kept
  float f[32];
  cpu::detail::yarn_frequencies(gpt_oss, 64, f);
  for (const KnownBits& known : {KnownBits{8, 0x3d502194}, KnownBits{13, 0x3b7cfe14}, KnownBits{14, 0x3b093803},
                                 KnownBits{15, 0x3a89f778}, KnownBits{17, 0x390799b9}, KnownBits{27, 0x35b40668}}) {
    INFO(known.i);
    CHECK(std::bit_cast<std::uint32_t>(f[known.i]) == known.bits);
  }
}

TEST_CASE("YaRN equals its formula in double, for other widths, contexts and ends of the ramp") {
  for (const RopeFacts& facts :
       {gpt_oss, RopeFacts{.kind = RopeKind::yarn, .base = 10000, .factor = 4, .context = 64},
        RopeFacts{
            .kind = RopeKind::yarn, .base = 1e6, .factor = 2.5, .context = 32768, .beta_fast = 16, .beta_slow = 2},
        RopeFacts{.kind = RopeKind::yarn, .base = 100, .factor = 8, .context = 2, .truncate = false},  // ends below 0
        RopeFacts{.kind = RopeKind::yarn, .base = 1e4, .factor = 8, .context = 6},         // both ends are 0
        RopeFacts{.kind = RopeKind::yarn, .base = 4, .factor = 8, .context = 1 << 20}}) {  // and beyond d
    for (const int d : {16, 48, 64, 128}) {
      float f[64];
      cpu::detail::yarn_frequencies(facts, d, f);
      const ivl_test::YarnRamp yarn(facts, d);
      double worst = 0;
      for (int i = 0; i < d / 2; ++i) {
        const double ramp = yarn.at(i), plain = std::pow(facts.base, -2.0 * i / d);
        const double bound = plain * (yarn.error_at(i) + (6 + std::log(facts.base)) * 0x1p-24);
        const double error = std::abs(f[i] - ((1 - ramp) * plain + ramp * plain / facts.factor));
        keep_worst(worst, error / bound);
      }
      INFO(facts.base, " ", facts.context, " ", d);
      CHECK(worst <= 1);
    }
  }
}

TEST_CASE("YaRN's factor multiplies cosines and sines, at every position and whatever the length") {
  cpu::Context ctx(2);
  const std::vector<std::int32_t> positions{0, 1, 77, 4095, 4096, 100000};
  const std::vector<float> found = angles_of(ctx, gpt_oss, 64, positions, {1, 2, 5000, 4096, 70000, 131072});
  float f[32];
  cpu::detail::yarn_frequencies(gpt_oss, 64, f);
  const float factor = float(gpt_oss.attention_factor);
  double worst = 0;
  for (std::size_t row = 0; row < positions.size(); ++row) {
    for (int i = 0; i < 32; ++i) {
      const volatile float angle = float(positions[row]) * f[i];
      for (const auto& [value, exact] : {std::pair(found[row * 64 + std::size_t(i)], std::cos(double(angle))),
                                         std::pair(found[row * 64 + 32 + std::size_t(i)], std::sin(double(angle)))}) {
        // Half a unit of the cosine (2^-24 of it at most, and our double's error) and one rounding of the product.
        const double bound = factor * std::abs(exact) * 2.01 * 0x1p-24 + 0x1p-49;
        const double error = std::abs(double(value) - double(factor) * exact);
        keep_worst(worst, error / bound);
      }
    }
  }
  CHECK(worst <= 1);
}

}  // namespace
