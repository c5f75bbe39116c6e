#include "ivl/cuda/rows/rope.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/simt/support/device_test.hpp"
#include "tests/support/yarn_ramp.hpp"

namespace {

using namespace ivl;

constexpr int gap = 4;

/// Angles for rows (position, rope length), head_dim wide.
std::vector<float> angles_of(cuda::Context& ctx, const RopeFacts& facts, int head_dim,
                             const std::vector<std::int32_t>& positions, const std::vector<std::int32_t>& lengths) {
  const std::int64_t rows = std::int64_t(positions.size()), stride = head_dim + gap;
  DeviceArray<std::int32_t> device_positions(positions), device_lengths(lengths);
  DeviceArray<float> device_angles(std::size_t(rows * stride));
  rope_angles(ctx, facts, device_positions.data(), device_lengths.data(),
              Rows<float>(device_angles.data(), rows, head_dim, stride));
  const std::vector<float> found = device_angles.download();
  std::vector<float> result;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* from = found.data() + row * stride;
    result.insert(result.end(), from, from + head_dim);
    for (int i = head_dim; i < stride; ++i) REQUIRE(std::isnan(from[i]));
  }
  return result;
}

/// Half a unit in the last place of a float near `exact`, and a hair for the double's own error.
double half_unit(double exact) { return 0x1p-25 * std::exp2(std::ceil(std::log2(std::abs(exact) + 1e-300))) + 0x1p-49; }

/// base^(-2 i / head_dim) as transformers computes it in float: exponent, power and reciprocal are rounded.
float frequency(float base, int head_dim, int i) {
  const volatile float exponent = float(2 * i) / float(head_dim),
                       power = float(std::pow(double(base), double(exponent)));
  return 1 / power;
}

}  // namespace

TEST_CASE("on CUDA cosines and sines are those of the float angle, correctly rounded but for a hair") {
  cuda::Context ctx;
  const RopeFacts facts{.base = 1e6};
  std::vector<std::int32_t> positions;
  for (int p = 0; p < 40; ++p) positions.push_back(p < 20 ? p : p * p * 172);  // up to 2^18
  for (const int head_dim : {16, 48, 128}) {
    CAPTURE(head_dim);
    for_each_order([&] {
      const std::vector<float> angles = angles_of(ctx, facts, head_dim, positions, positions);
      double worst = 0;
      for (std::size_t row = 0; row < positions.size(); ++row) {
        for (int i = 0; i < head_dim / 2; ++i) {
          const volatile float angle = float(positions[row]) * frequency(1e6f, head_dim, i);
          const float* found = angles.data() + row * std::size_t(head_dim);
          for (const auto& [value, exact] : {std::pair(double(found[i]), std::cos(double(angle))),
                                             std::pair(double(found[head_dim / 2 + i]), std::sin(double(angle)))}) {
            const double error = std::abs(value - exact) / half_unit(exact);
            if (!(error <= worst)) worst = error;
          }
        }
      }
      CHECK(worst <= 1);
    });
  }
}

TEST_CASE("on CUDA dynamic NTK changes nothing up to the context length, and grows the base beyond it") {
  cuda::Context ctx;
  const RopeFacts plain{.base = 1e6};
  const RopeFacts grown{.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 32768};
  const std::vector<std::int32_t> positions{0, 5, 1000, 32767}, lengths{1, 6, 32768, 32768};
  CHECK(angles_of(ctx, plain, 64, positions, lengths) == angles_of(ctx, grown, 64, positions, lengths));

  // Of a row at position 1 the sine is the frequency's: the base can be read off it.
  struct Known {
    int length, head_dim;
    double base;
  };
  for (const Known& known :
       {Known{32769, 64, 1000063.004}, Known{40000, 128, 1449795.74}, Known{65536, 64, 3108223.67}}) {
    CAPTURE(known.length);
    const std::vector<float> angles = angles_of(ctx, grown, known.head_dim, {1}, {known.length});
    const int half_dim = known.head_dim / 2;
    for (int i = 1; i < half_dim; ++i) {
      const double exponent = 2.0 * i / known.head_dim;
      const double found = std::pow(std::asin(double(angles[std::size_t(half_dim + i)])), -1 / exponent);
      // Within 16 roundings the base itself; exponent, power, reciprocal, angle and sine of one frequency, of which
      // the base is the 1 / exponent-th power. The arc sine near 1 is not worse than 4 times its argument.
      const double bound = (16 + std::log(known.base) + 4 * 4 / exponent) * 0x1p-24;
      const double error = std::abs(found / known.base - 1);
      if (!(error <= bound)) REQUIRE(found == known.base);
    }
  }
}

TEST_CASE("on CUDA YaRN's angles and factor are the formula's, whatever the length") {
  cuda::Context ctx;
  const RopeFacts gpt_oss{.kind = RopeKind::yarn,
                          .base = 150000,
                          .factor = 32,
                          .context = 4096,
                          .truncate = false,
                          .attention_factor = 1.3465735902799727};
  RopeFacts rounded = gpt_oss;
  rounded.truncate = true;
  for (const RopeFacts& facts :
       {gpt_oss, rounded, RopeFacts{.kind = RopeKind::yarn, .base = 4, .factor = 8, .context = 1 << 20}}) {
    const int d = 64;
    const std::vector<std::int32_t> positions{0, 1, 100}, lengths{1, 5000, 70000};
    const std::vector<float> angles = angles_of(ctx, facts, d, positions, lengths);
    const ivl_test::YarnRamp yarn(facts, d);
    double worst = 0;
    for (std::size_t row = 0; row < positions.size(); ++row) {
      for (int i = 0; i < d / 2; ++i) {
        const double ramp = yarn.at(i), plain = std::pow(facts.base, -2.0 * i / d);
        const double angle = positions[row] * ((1 - ramp) * plain + ramp * plain / facts.factor);
        // The ramp; the power, two reciprocals, products and a sum; the angle. A cosine or sine moves no more than its
        // angle, and is then rounded twice.
        const double bound =
            facts.attention_factor * positions[row] * plain * (yarn.error_at(i) + (7 + std::log(facts.base)) * 0x1p-24);
        const float* found = angles.data() + row * std::size_t(d);
        for (const auto& [value, exact] :
             {std::pair(found[i], std::cos(angle)), std::pair(found[d / 2 + i], std::sin(angle))}) {
          const double wanted = facts.attention_factor * exact;
          const double error = std::abs(double(value) - wanted) / (bound + 3 * 0x1p-24 * std::abs(wanted));
          if (!(error <= worst) && double(value) != wanted) worst = error;
        }
      }
    }
    CAPTURE(facts.base);
    CHECK(worst <= 1);
  }
}

TEST_CASE("on CUDA each row's angles are its own, whatever rows stand beside it") {
  cuda::Context ctx;
  const RopeFacts facts{.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 100};
  std::vector<std::int32_t> positions, lengths;
  for (int row = 0; row < 25; ++row) {
    positions.push_back(3 * row);
    lengths.push_back(row % 3 == 0 ? 90 : row % 3 == 1 ? 150 : 151);
  }
  for_each_order([&] {
    const std::vector<float> together = angles_of(ctx, facts, 32, positions, lengths);
    for (std::size_t row = 0; row < positions.size(); row += 4) {
      const std::vector<float> alone = angles_of(ctx, facts, 32, {positions[row]}, {lengths[row]});
      CHECK(std::equal(alone.begin(), alone.end(), together.begin() + std::int64_t(row) * 32));
    }
  });
  CHECK(angles_of(ctx, facts, 32, {99}, {150}) != angles_of(ctx, facts, 32, {99}, {151}));
  CHECK(angles_of(ctx, facts, 32, {}, {}).empty());
}
