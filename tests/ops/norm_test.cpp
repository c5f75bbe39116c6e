#include "ivl/cpu/norm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using ivl_test::float_unit, ivl_test::rounding_unit;

constexpr int widths[] = {1, 15, 16, 17, 63, 64, 65, 130, 1024, 3200, 8192};
constexpr float eps = 1e-6f;
constexpr int gap = 3;

template <class Scalar>
struct Problem {
  int rows, width;
  std::vector<Scalar> x, y;
  std::vector<float> gain, bias;

  Problem(int rows, int width) : rows(rows), width(width) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::mt19937 random{unsigned(width)};
    std::normal_distribution<float> normal;
    x.assign(std::size_t(rows * (width + gap)) + 16, round_to<Scalar>(nan));
    y = x;
    gain.assign(std::size_t(width) + 16, nan);
    bias = gain;
    for (int i = 0; i < width; ++i) {
      gain[std::size_t(i)] = 1 + normal(random);
      bias[std::size_t(i)] = normal(random);
    }
    for (int r = 0; r < rows; ++r) {
      // Rows of very different sizes, none centred.
      const float size = std::ldexp(1.0f, 4 * (r % 5) - 8);
      for (int i = 0; i < width; ++i) at(x, r)[i] = round_to<Scalar>(size * (normal(random) + 0.5f));
    }
  }
  Scalar* at(std::vector<Scalar>& memory, int row) {
    return memory.data() + std::size_t(row) * std::size_t(width + gap);
  }
  Rows<const Scalar> read() const { return {x.data(), rows, width, width + gap}; }
  Rows<Scalar> write() { return {y.data(), rows, width, width + gap}; }
  double x_at(int row, int i) { return double(to_float(at(x, row)[i])); }

  /// Calls check(row, i, y) and looks after the gaps.
  template <class Check>
  void each(Check&& check) {
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < width; ++i) check(r, i, double(to_float(at(y, r)[i])));
      for (int i = width; i < width + gap; ++i) REQUIRE(std::isnan(to_float(at(y, r)[i])));
    }
    for (std::size_t i = std::size_t(rows * (width + gap)); i < y.size(); ++i) REQUIRE(std::isnan(to_float(y[i])));
  }
};

/// Roundings on the way of one term through a sum of `width`: 64 lanes of running sums, up to 3 more of 16 and the
/// last, and the tree; the square before.
int sum_roundings(int width) { return width / 64 + 3 + 1 + 2 + 4 + 1; }

}  // namespace

TEST_CASE_TEMPLATE("rms_norm agrees with the double-precision formula", Scalar, bf16, float) {
  cpu::Context ctx(2);
  for (const int width : widths) {
    for (const int rows : {0, 1, 3, 17}) {
      CAPTURE(width);
      CAPTURE(rows);
      Problem<Scalar> p(rows, width);
      rms_norm(ctx, p.read(), p.gain.data(), eps, p.write());
      int row = -1;
      double squares = 0;
      p.each([&](int r, int i, double y) {
        if (row != r) {
          row = r;
          squares = 0;
          for (int k = 0; k < width; ++k) squares += p.x_at(r, k) * p.x_at(r, k);
        }
        const double want = p.gain[std::size_t(i)] * p.x_at(r, i) / std::sqrt(squares / width + double(eps));
        // The root halves the error of the sum; then mean, eps (float(1e-6) is not the double), root, quotient, two
        // products.
        const double error = std::abs(want) * (sum_roundings(width) / 2.0 + 6) * float_unit;
        if (!(std::abs(y - want) <= error + rounding_unit<Scalar> * (std::abs(want) + error))) REQUIRE(y == want);
      });
    }
  }
}

TEST_CASE_TEMPLATE("layer_norm agrees with the double-precision formula", Scalar, bf16, float) {
  cpu::Context ctx(2);
  for (const int width : widths) {
    for (const int rows : {0, 1, 3, 17}) {
      CAPTURE(width);
      CAPTURE(rows);
      Problem<Scalar> p(rows, width);
      layer_norm(ctx, p.read(), p.gain.data(), p.bias.data(), eps, p.write());
      int row = -1;
      double mean = 0, sizes = 0, variance = 0;
      p.each([&](int r, int i, double y) {
        if (row != r) {
          row = r;
          mean = sizes = variance = 0;
          for (int k = 0; k < width; ++k) {
            mean += p.x_at(r, k) / width;
            sizes += std::abs(p.x_at(r, k)) / width;
          }
          for (int k = 0; k < width; ++k) variance += (p.x_at(r, k) - mean) * (p.x_at(r, k) - mean) / width;
        }
        const double factor = 1 / std::sqrt(variance + double(eps)), gain = p.gain[std::size_t(i)],
                     bias = p.bias[std::size_t(i)];
        const double centred = p.x_at(r, i) - mean, scaled = centred * factor * gain, want = scaled + bias;
        const double mean_error = (sum_roundings(width) + 1) * float_unit * sizes;
        // A wrong mean moves every term: its square adds to the variance (its product with the terms sums to zero).
        const double factor_error =
            (sum_roundings(width) / 2.0 + 6) * float_unit + mean_error * mean_error * factor * factor;
        const double error = mean_error * factor * std::abs(gain) + std::abs(scaled) * (factor_error + 3 * float_unit) +
                             float_unit * std::abs(want);
        if (!(std::abs(y - want) <= error + rounding_unit<Scalar> * (std::abs(want) + error))) REQUIRE(y == want);
      });
    }
  }
}

TEST_CASE_TEMPLATE(
    "a normalised row depends neither on the rows beside it, nor on threads, nor on being its own result", Scalar, bf16,
    float) {
  for (const int width : {48, 1030}) {
    const int rows = 90;
    cpu::Context one(1);
    Problem<Scalar> rms(rows, width), layer(rows, width);
    rms_norm(one, rms.read(), rms.gain.data(), eps, rms.write());
    layer_norm(one, layer.read(), layer.gain.data(), layer.bias.data(), eps, layer.write());
    const auto same = [&](Problem<Scalar>& all, int first, const Scalar* y) {
      return std::memcmp(all.at(all.y, first), y, std::size_t(width) * sizeof(Scalar)) == 0;
    };
    for (const int threads : {1, 2, 3}) {
      cpu::Context ctx(threads);
      for (const int number : {1, 2, 7, 50}) {
        Problem<Scalar> p(rows, width);
        rms_norm(ctx, p.read().slice(13, number), p.gain.data(), eps, p.write().slice(0, number));
        for (int r = 0; r < number; ++r) REQUIRE(same(rms, 13 + r, p.at(p.y, r)));
        layer_norm(ctx, p.read().slice(13, number), p.gain.data(), p.bias.data(), eps, p.write().slice(0, number));
        for (int r = 0; r < number; ++r) REQUIRE(same(layer, 13 + r, p.at(p.y, r)));
      }
    }
    Problem<Scalar> p(rows, width);
    p.y = p.x;
    rms_norm(one, Rows<const Scalar>(p.write()), p.gain.data(), eps, p.write());
    for (int r = 0; r < rows; ++r) REQUIRE(same(rms, r, p.at(p.y, r)));
    p.y = p.x;
    layer_norm(one, Rows<const Scalar>(p.write()), p.gain.data(), p.bias.data(), eps, p.write());
    for (int r = 0; r < rows; ++r) REQUIRE(same(layer, r, p.at(p.y, r)));
  }
}

TEST_CASE("a row of zeros becomes zero, or the bias") {
  cpu::Context ctx(1);
  const std::vector<float> x(20, 0), gain(20, 3), bias(20, 2);
  std::vector<float> y(20, -1);
  rms_norm(ctx, Rows<const float>(x.data(), 1, 20), gain.data(), eps, Rows<float>(y.data(), 1, 20));
  for (const float value : y) CHECK(value == 0);
  layer_norm(ctx, Rows<const float>(x.data(), 1, 20), gain.data(), bias.data(), eps, Rows<float>(y.data(), 1, 20));
  for (const float value : y) CHECK(value == 2);
}
