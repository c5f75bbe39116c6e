// Problems for tests of `linear` and its kernels: small whole numbers, whose sums are exact in float in every order, so
// that a result is either right or wrong.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/ops/linear.hpp"
#include "tests/simt/support/device_test.hpp"

namespace ivl {

template <class Scalar>
constexpr double unit_of = std::is_same_v<Scalar, float> ? 0x1p-24 : 0x1p-8;  // largest relative error of one rounding

/// A placed matrix in the memory of a DeviceArray, row-major as place_matrix leaves it.
template <class Weight>
PlacedMatrix view_of(DeviceArray<Weight>& w, std::int64_t out, std::int64_t in, Fusion fusion = Fusion::stacked) {
  return {format_of(kind_of<Weight>),
          fusion,
          out,
          in,
          {nullptr, reinterpret_cast<std::byte*>(w.data()), std::size_t(out * in) * sizeof(Weight)}};
}

enum class Terms { none, bias_and_scale };

/// Rows of x and y have gaps of NaN between them.
template <class Scalar, class Weight, class Result>
struct Product {
  static constexpr int gap = 8;
  int rows, out, in, width;
  EpilogueKind kind;
  std::vector<Scalar> x;           // [rows, in + gap]
  std::vector<Weight> w;           // [out, in]
  std::vector<float> bias, scale;  // [out], or empty
  std::vector<Result> before;      // [rows, width + gap]

  Product(int rows, int out, int in, EpilogueKind kind, Terms terms)
      : rows(rows), out(out), in(in), width(kind == EpilogueKind::swi_glu ? out / 2 : out), kind(kind) {
    std::mt19937 random{unsigned(rows + 7 * out + 31 * in)};
    // Halves use all of their 11 bits. 4 * 2047 * in and the quarters of bias stay within float's 24.
    const int most = std::is_same_v<Weight, half> ? 2047 : 8;
    std::uniform_int_distribution<int> small(-4, 4), weight(-most, most), power(4, 6);
    const auto poison = std::numeric_limits<float>::quiet_NaN();
    x.assign(std::size_t(rows * (in + gap)), round_to<Scalar>(poison));
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < in; ++k) x[std::size_t(r * (in + gap) + k)] = round_to<Scalar>(float(small(random)));
    }
    for (int i = 0; i < out * in; ++i) w.push_back(round_to<Weight>(float(weight(random))));
    if (terms == Terms::bias_and_scale) {
      for (int i = 0; i < out; ++i) {
        bias.push_back(0.25f * float(small(random)));
        // gelu and silu are interesting near zero: powers of two bring the sums there, exactly.
        scale.push_back(std::ldexp(small(random) < 0 ? -1.0f : 1.0f, -power(random)));
      }
    }
    // NaN unless it is read.
    before.assign(std::size_t(rows * (width + gap)), round_to<Result>(poison));
    if (kind == EpilogueKind::add) {
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < width; ++i)
          before[std::size_t(r * (width + gap) + i)] = round_to<Result>(float(small(random)));
      }
    }
  }

  double u(int row, int column) const {
    double sum = 0;
    for (int k = 0; k < in; ++k) {
      sum += double(to_float(x[std::size_t(row * (in + gap) + k)])) * double(to_float(w[std::size_t(column * in + k)]));
    }
    return bias.empty() ? sum : (sum + double(bias[std::size_t(column)])) * double(scale[std::size_t(column)]);
  }

  /// The result before its rounding, and the relative error that float arithmetic may add.
  struct Wanted {
    double value, error;
  };
  Wanted want(int row, int column) const {
    switch (kind) {
      case EpilogueKind::store:
        return {u(row, column), 0};
      case EpilogueKind::add:
        return {u(row, column) + double(to_float(before[std::size_t(row * (width + gap) + column)])), 0};
      case EpilogueKind::gelu: {
        // erfc(a) with a = -u / sqrt 2: two roundings of a, of which an error d becomes (2 a^2 + 1) d; erfcf itself is
        // within 6 ulp, and there are two more products.
        const double v = u(row, column);
        return {0.5 * v * std::erfc(-v / std::sqrt(2.0)), (2 * (v * v + 1) + 2 * 6 + 2) * unit_of<float>};
      }
      case EpilogueKind::swi_glu: {
        // expf within 2 ulp, the reciprocal within 1, a sum and two products.
        const double gate = u(row, 2 * column), up = u(row, 2 * column + 1);
        return {gate / (1 + std::exp(-gate)) * up, (2 * 2 + 2 + 3) * unit_of<float>};
      }
    }
    return {0, 0};
  }

  /// silu is 0 where e^-u overflows, at u = -88: what that hides is below 1e-36 times the other factor.
  static constexpr double least = 1e-30;

  /// Runs op(x, w, epilogue, y) in every order and compares every scalar.
  template <class Op>
  void check(const Op& op) const {
    CAPTURE(rows);
    CAPTURE(out);
    CAPTURE(in);
    CAPTURE(int(kind));
    std::vector<Wanted> wanted;
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < width; ++i) wanted.push_back(want(r, i));
    }
    for_each_order([&] {
      DeviceArray<Scalar> device_x(x);
      DeviceArray<Weight> device_w(w);
      DeviceArray<float> device_bias(bias), device_scale(scale);
      DeviceArray<Result> y(before);
      const bool gated = kind == EpilogueKind::swi_glu;
      const Epilogue epilogue{kind, bias.empty() ? nullptr : device_bias.data(),
                              scale.empty() ? nullptr : device_scale.data()};
      op(Rows<const Scalar>(device_x.data(), rows, in, in + gap),
         view_of(device_w, out, in, gated ? Fusion::interleaved : Fusion::stacked), epilogue,
         Rows<Result>(y.data(), rows, width, width + gap));
      const std::vector<Result> result = y.download();
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < width; ++i) {
          const auto [value, error] = wanted[std::size_t(r * width + i)];
          const double found = double(to_float(result[std::size_t(r * (width + gap) + i)]));
          const double allowed = std::abs(value) * (error + unit_of<Result> * (1 + error)) + least;
          const bool right = error == 0 ? found == double(to_float(round_to<Result>(float(value))))
                                        : std::abs(found - value) <= allowed;
          if (!right) {
            CAPTURE(r);
            CAPTURE(i);
            REQUIRE(found == value);
          }
        }
        for (int i = width; i < width + gap; ++i)
          REQUIRE(std::isnan(to_float(result[std::size_t(r * (width + gap) + i)])));
      }
    });
  }
};

/// Normal values: their sums do depend on the order.
template <class Scalar>
std::vector<Scalar> normal_values(std::size_t number, unsigned seed) {
  std::mt19937 random{seed};
  std::normal_distribution<float> normal;
  std::vector<Scalar> values;
  for (std::size_t i = 0; i < number; ++i) values.push_back(round_to<Scalar>(normal(random)));
  return values;
}

}  // namespace ivl
