#include "ivl/cuda/rows/norm.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "ivl/core/error.hpp"
#include "tests/simt/support/device_test.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using ivl_test::float_unit, ivl_test::rounding_unit;
/// Below its normal numbers a half is rounded to a multiple of 2^-24; the others do not come near theirs.
template <class Scalar>
constexpr double least_rounding = std::is_same_v<Scalar, half> ? 0x1p-25 : 0;

// One lane, one warp, just over a warp's share, odd ones that cannot use wide loads, whole ones that can, and many
// warps.
constexpr int widths[] = {1, 8, 136, 511, 520, 1024, 3200};
constexpr float eps = 1e-6f;

/// Roundings on the way of one term through a sum: up to 16 in a thread, the trees of a warp and of the warps, the
/// square.
constexpr int sum_roundings = 16 + 5 + 5 + 1;

template <class Scalar>
struct Problem {
  int rows, width, stride;
  std::vector<Scalar> x;
  std::vector<float> gain, bias;

  /// The gap between rows keeps them aligned to 16 bytes where `width` is.
  Problem(int rows, int width) : rows(rows), width(width), stride(width + 8) {
    std::mt19937 random{unsigned(width)};
    std::normal_distribution<float> normal;
    x.assign(std::size_t(rows * stride), round_to<Scalar>(std::numeric_limits<float>::quiet_NaN()));
    for (int r = 0; r < rows; ++r) {
      const float size = std::ldexp(1.0f, 4 * (r % 3) - 4);  // rows of different sizes, none centred
      for (int i = 0; i < width; ++i) x[std::size_t(r * stride + i)] = round_to<Scalar>(size * (normal(random) + 0.5f));
    }
    for (int i = 0; i < width; ++i) {
      gain.push_back(1 + normal(random));
      bias.push_back(normal(random));
    }
  }
  double x_at(int row, int i) const { return double(to_float(x[std::size_t(row * stride + i)])); }
};

/// A row in double precision.
struct Row {
  double mean = 0, mean_size = 0, mean_square = 0, variance = 0;

  template <class Scalar>
  Row(const Problem<Scalar>& p, int r) {
    for (int k = 0; k < p.width; ++k) {
      mean += p.x_at(r, k) / p.width;
      mean_size += std::abs(p.x_at(r, k)) / p.width;
      mean_square += p.x_at(r, k) * p.x_at(r, k) / p.width;
    }
    for (int k = 0; k < p.width; ++k) variance += (p.x_at(r, k) - mean) * (p.x_at(r, k) - mean) / p.width;
  }
};

/// What is wanted, and what float arithmetic may add to the last rounding.
struct Wanted {
  double value, error;
};

/// Runs `op(context, x, gain, bias, y)` and compares every scalar with `want(row, x, gain, bias)`.
template <class Scalar, class Op, class Want>
void compare(const Op& op, const Want& want) {
  cuda::Context ctx;
  for (const int width : widths) {
    for (const int rows : {0, 1, 5}) {
      CAPTURE(width);
      CAPTURE(rows);
      const Problem<Scalar> p(rows, width);
      for_each_order([&] {
        DeviceArray<Scalar> x(p.x), y(p.x.size());
        DeviceArray<float> gain(p.gain), bias(p.bias);
        op(ctx, Rows<const Scalar>(x.data(), rows, width, p.stride), gain.data(), bias.data(),
           Rows<Scalar>(y.data(), rows, width, p.stride));
        const std::vector<Scalar> result = y.download();
        for (int r = 0; r < rows; ++r) {
          const Row row(p, r);
          for (int i = 0; i < width; ++i) {
            const std::size_t column = std::size_t(i);
            const auto [wanted, error] = want(row, p.x_at(r, i), double(p.gain[column]), double(p.bias[column]));
            const double found = double(to_float(result[std::size_t(r * p.stride) + column]));
            const double rounding =
                std::max(rounding_unit<Scalar> * (std::abs(wanted) + error), least_rounding<Scalar>);
            if (!(std::abs(found - wanted) <= error + rounding)) REQUIRE(found == wanted);
          }
          for (int i = width; i < p.stride; ++i) REQUIRE(std::isnan(to_float(result[std::size_t(r * p.stride + i)])));
        }
      });
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("on CUDA rms_norm agrees with the double-precision formula", Scalar, bf16, half, float) {
  compare<Scalar>([](cuda::Context& ctx, Rows<const Scalar> x, const float* gain, const float*,
                     Rows<Scalar> y) { rms_norm(ctx, x, gain, eps, y); },
                  [](const Row& row, double x, double gain, double) -> Wanted {
                    const double value = gain * x / std::sqrt(row.mean_square + double(eps));
                    // The root halves the sum's error; then mean, eps (float(1e-6) is not the double), root, quotient,
                    // two products.
                    return {value, std::abs(value) * (sum_roundings / 2.0 + 6) * float_unit};
                  });
}

TEST_CASE_TEMPLATE("on CUDA layer_norm agrees with the double-precision formula", Scalar, bf16, float) {
  compare<Scalar>([](cuda::Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias,
                     Rows<Scalar> y) { layer_norm(ctx, x, gain, bias, eps, y); },
                  [](const Row& row, double x, double gain, double bias) -> Wanted {
                    const double factor = 1 / std::sqrt(row.variance + double(eps));
                    const double scaled = (x - row.mean) * factor * gain;
                    // An error of the mean moves every difference, and the variance by its square.
                    const double mean_error = row.mean_size * (sum_roundings + 1) * float_unit;
                    const double variance_error = mean_error * mean_error * factor * factor;
                    return {scaled + bias,
                            (mean_error + std::abs(x - row.mean) * float_unit) * factor * std::abs(gain) +
                                std::abs(scaled) * ((sum_roundings / 2.0 + 6) * float_unit + variance_error) +
                                (std::abs(scaled) + std::abs(bias)) * float_unit};
                  });
}

TEST_CASE("on CUDA rms_norm may write over its input, and a row's bits do not depend on the others") {
  cuda::Context ctx;
  const Problem<bf16> p(5, 520);
  for_each_order([&] {
    DeviceArray<bf16> x(p.x), in_place(p.x), alone(std::size_t(p.width));
    DeviceArray<float> gain(p.gain);
    rms_norm(ctx, Rows<const bf16>(in_place.data(), 5, 520, p.stride), gain.data(), eps,
             Rows<bf16>(in_place.data(), 5, 520, p.stride));
    rms_norm(ctx, Rows<const bf16>(x.data(), 5, 520, p.stride).slice(3, 1), gain.data(), eps,
             Rows<bf16>(alone.data(), 1, 520));
    const std::vector<bf16> all = in_place.download(), one = alone.download();
    for (int i = 0; i < p.width; ++i) REQUIRE(all[std::size_t(3 * p.stride + i)].bits == one[std::size_t(i)].bits);
  });
}

TEST_CASE("on CUDA rms_norm takes a gain that does not start at a multiple of 16 bytes") {
  cuda::Context ctx;
  const std::vector<bf16> ones(520, round_to<bf16>(1));
  std::vector<float> gains;
  for (int i = 0; i < 521; ++i) gains.push_back(float(i % 100));
  DeviceArray<bf16> x(ones), y(520);
  DeviceArray<float> gain(gains);
  rms_norm(ctx, Rows<const bf16>(x.data(), 1, 520), gain.data() + 1, 3.0f, Rows<bf16>(y.data(), 1, 520));
  const std::vector<bf16> result = y.download();
  for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(to_float(result[i]) == gains[i + 1] / 2);
}

TEST_CASE("on CUDA rows that are wider than a block can hold are refused") {
  cuda::Context ctx;
  const Rows<float> rows(nullptr, 1, 16385);
  CHECK_THROWS_WITH_AS(rms_norm(ctx, Rows<const float>(rows), nullptr, eps, rows),
                       "norm on CUDA: expected rows of at most 16384 scalars, found 16385", RequestError);
  CHECK_THROWS_WITH_AS(rms_norm(ctx, Rows<const float>(nullptr, 2, 48), nullptr, eps, Rows<float>(nullptr, 2, 40)),
                       "norm on CUDA: expected y [2, 48] as x, and not empty rows; found [2, 40]", RequestError);
}
