#include "ivl/cuda/linear/sm80_gemv.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
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

/// One matrix, 16 rows of x with a gap after each, and what y held before. All but the values is NaN.
template <class Stored>
struct Problem {
  static constexpr int rows = 16;
  int out, in, x_stride;
  std::vector<bf16> x;
  std::vector<Stored> w;
  std::vector<float> bias, scale;

  Problem(int out, int in) : out(out), in(in), x_stride(in + 8) {
    std::mt19937 random{unsigned(1000 * out + in)};
    std::normal_distribution<float> normal;
    x.assign(std::size_t(rows * x_stride), round_to<bf16>(std::numeric_limits<float>::quiet_NaN()));
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < in; ++k) x[std::size_t(r * x_stride + k)] = round_to<bf16>(normal(random));
    }
    // So large that the products are about 1, and a weight of each size that has another number of bits as a half.
    for (int i = 0; i < out * in; ++i) w.push_back(round_to<Stored>(std::ldexp(normal(random), -(i % 7)) / 2));
    for (int o = 0; o < out; ++o) {
      bias.push_back(normal(random));
      scale.push_back(normal(random));
    }
  }
  double x_at(int row, int k) const { return double(to_float(x[std::size_t(row * x_stride + k)])); }
  double w_at(int column, int k) const { return double(to_float(w[std::size_t(column * in + k)])); }
};

/// A float that the kernel computes, and how far it may be from this value.
struct Estimate {
  double value, error;
};

/// A sum that passes through mma after mma of a warp, each of 17 terms that tensor cores may truncate by 2^-22 of their
/// sizes (see prim/matrix_test.cu), and then through those of eight warps.
template <class Stored>
Estimate product(const Problem<Stored>& p, int row, int column) {
  double sum = 0, size = 0;
  for (int k = 0; k < p.in; ++k) {
    const double term = p.x_at(row, k) * p.w_at(column, k);
    sum += term;
    size += std::abs(term);
  }
  const double mmas_a_step = std::is_same_v<Stored, half> ? 4 : 2;  // a half in two parts
  const double mmas = mmas_a_step * double(ceil_div(p.in, 8 * 32));
  return {sum, size * (17 * mmas * 0x1p-22 + 8 * float_unit)};
}

Estimate add(Estimate a, double b) {
  const double sum = a.value + b;
  return {sum, a.error + float_unit * (std::abs(sum) + a.error)};
}
Estimate multiply(Estimate a, Estimate b) {
  const double product = a.value * b.value;
  const double error = std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error;
  return {product, error + float_unit * (std::abs(product) + error)};
}
/// A function whose slope is at most 1.13, as those of silu (1.1) and gelu are, and which is computed within 2^-20.
Estimate activate(Estimate a, double value) { return {value, 1.13 * a.error + 0x1p-20 * (std::abs(value) + a.error)}; }

template <class Stored>
Estimate wanted(const Problem<Stored>& p, const Epilogue& epilogue, int row, int column, double before) {
  const auto terms = [&](int c) {
    Estimate u = product(p, row, c);
    if (epilogue.bias) u = add(u, double(p.bias[std::size_t(c)]));
    if (epilogue.scale) u = multiply(u, {double(p.scale[std::size_t(c)]), 0});
    return u;
  };
  switch (epilogue.kind) {
    case EpilogueKind::store:
      return terms(column);
    case EpilogueKind::add:
      return add(terms(column), before);
    case EpilogueKind::gelu: {
      const Estimate u = terms(column);
      return activate(u, 0.5 * u.value * std::erfc(-u.value / std::sqrt(2.0)));
    }
    case EpilogueKind::swi_glu: {
      const Estimate gate = terms(2 * column), up = terms(2 * column + 1);
      return multiply(activate(gate, gate.value / (1 + std::exp(-gate.value))), up);
    }
  }
  return {};
}

template <class Scalar>
bool is_nan(Scalar x) {
  return std::isnan(to_float(x));
}

/// Runs gemv on the first `rows` rows and compares all of y with double precision.
template <cuda::GemvPolicy P, class Result, class Stored>
void compare(const Problem<Stored>& p, int rows, EpilogueKind kind, bool with_bias, bool with_scale) {
  CAPTURE(rows);
  CAPTURE(int(kind));
  CAPTURE(p.out);
  CAPTURE(p.in);
  cuda::Context ctx;
  const bool gated = kind == EpilogueKind::swi_glu;
  const int width = gated ? p.out / 2 : p.out, stride = width + 3;
  std::vector<Result> before(std::size_t(rows * stride), round_to<Result>(std::numeric_limits<float>::quiet_NaN()));
  for (int r = 0; kind == EpilogueKind::add && r < rows; ++r) {
    for (int i = 0; i < width; ++i) before[std::size_t(r * stride + i)] = round_to<Result>(float(r - i) / 4);
  }
  const std::vector<bf16> some(p.x.begin(), p.x.begin() + rows * p.x_stride);  // the next row is out of bounds
  for_each_order([&] {
    DeviceArray<bf16> x(some);
    DeviceArray<Stored> w(p.w);
    DeviceArray<float> bias(p.bias), scale(p.scale);
    DeviceArray<Result> y(before);
    const Epilogue epilogue{kind, with_bias ? bias.data() : nullptr, with_scale ? scale.data() : nullptr};
    const PlacedMatrix placed{format_of(kind_of<Stored>), gated ? Fusion::interleaved : Fusion::stacked, p.out, p.in,
                              Memory{nullptr, reinterpret_cast<std::byte*>(w.data()), p.w.size() * sizeof(Stored)}};
    gemv<P>(ctx, Rows<const bf16>(x.data(), rows, p.in, p.x_stride), placed, epilogue,
            Rows<Result>(y.data(), rows, width, stride));
    const std::vector<Result> result = y.download();
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < width; ++i) {
        const std::size_t at = std::size_t(r * stride + i);
        const auto [value, error] = wanted(p, epilogue, r, i, double(to_float(before[at])));
        const double found = double(to_float(result[at]));
        if (!(std::abs(found - value) <= error + rounding_unit<Result> * (std::abs(value) + error)))
          REQUIRE(found == value);
      }
      for (int i = width; i < stride; ++i) REQUIRE(is_nan(result[std::size_t(r * stride + i)]));
    }
  });
}

constexpr float eps = 0.25f;  // so large that to leave it out shows

/// Gains with which an error of one bit of a row's factor shows, though normed rows are rounded to bf16: column k comes
/// within a few floats of the middle between two bf16 in row k % rows, on either side.
std::vector<float> telling_gains(const Problem<bf16>& p, int rows) {
  std::vector<double> factors;
  for (int r = 0; r < rows; ++r) {
    double squares = 0;
    for (int k = 0; k < p.in; ++k) squares += p.x_at(r, k) * p.x_at(r, k);
    factors.push_back(1 / std::sqrt(squares / p.in + double(eps)));
  }
  std::vector<float> gains;
  for (int k = 0; k < p.in; ++k) {
    const double scaled = p.x_at(k % rows, k) * factors[std::size_t(k % rows)];
    const std::uint32_t below = std::uint32_t(round_to<bf16>(float(scaled)).bits) << 16;
    const float gain = scaled == 0 ? 1.0f : float(double(std::bit_cast<float>(below | 0x8000u)) / scaled);
    gains.push_back(std::bit_cast<float>(std::bit_cast<std::uint32_t>(gain) + unsigned(k / rows % 9) - 4));
  }
  return gains;
}

/// norm_gemv on the first `rows` rows against rms_norm and gemv.
template <cuda::GemvPolicy P>
void compare_normed(const Problem<bf16>& p, int rows) {
  CAPTURE(rows);
  CAPTURE(p.out);
  CAPTURE(p.in);
  cuda::Context ctx;
  const std::vector<float> gains = telling_gains(p, rows);
  const std::vector<bf16> some(p.x.begin(), p.x.begin() + rows * p.x_stride);  // the next row is out of bounds
  for_each_order([&] {
    DeviceArray<bf16> x(some), normed(some.size()), w(p.w);
    DeviceArray<float> gain(gains), wanted(std::size_t(rows * p.out)), y(std::size_t(rows * p.out));
    const PlacedMatrix placed{Format::bf16, Fusion::stacked, p.out, p.in,
                              Memory{nullptr, reinterpret_cast<std::byte*>(w.data()), p.w.size() * sizeof(bf16)}};
    const Rows<const bf16> x_rows(x.data(), rows, p.in, p.x_stride);
    const Rows<bf16> normed_rows(normed.data(), rows, p.in, p.x_stride);
    rms_norm(ctx, x_rows, gain.data(), eps, normed_rows);
    gemv<P>(ctx, Rows<const bf16>(normed_rows), placed, Epilogue{}, Rows<float>(wanted.data(), rows, p.out));
    norm_gemv<P>(ctx, x_rows, gain.data(), eps, placed, Epilogue{}, Rows<float>(y.data(), rows, p.out));
    const std::vector<float> want = wanted.download(), found = y.download();
    REQUIRE(std::none_of(want.begin(), want.end(), is_nan<float>));
    REQUIRE(std::memcmp(found.data(), want.data(), want.size() * sizeof(float)) == 0);
  });
}

}  // namespace

// Depths: half a step, one and a half, one more than a turn of the eight warps, more than one batch of loads.
// Columns: one, less than a tile, one more than whole tiles.

TEST_CASE("on CUDA gemv agrees with double precision under every epilogue") {
  const Problem<bf16> p(38, 304);
  compare<cuda::gemv_narrow, bf16>(p, 1, EpilogueKind::store, false, false);
  compare<cuda::gemv_narrow, bf16>(p, 3, EpilogueKind::store, true, true);
  compare<cuda::gemv_narrow, bf16>(p, 2, EpilogueKind::gelu, true, false);
  compare<cuda::gemv_narrow, bf16>(p, 8, EpilogueKind::add, true, true);
  compare<cuda::gemv_narrow, bf16>(p, 5, EpilogueKind::swi_glu, false, false);
  compare<cuda::gemv_tall, bf16>(p, 11, EpilogueKind::swi_glu, false, false);
  compare<cuda::gemv_tall, bf16>(p, 16, EpilogueKind::add, false, false);
  compare<cuda::gemv_narrow, float>(p, 2, EpilogueKind::store, false, false);
}

TEST_CASE("on CUDA gemv takes any number of columns and depths that are odd multiples of 16") {
  for (const int in : {16, 48, 272, 2320}) {
    for (const int out : {1, 7, 17}) {
      const Problem<bf16> p(out, in);
      compare<cuda::gemv_narrow, float>(p, 2, EpilogueKind::store, false, false);
      if (in != 2320) compare<cuda::gemv_wide, float>(p, 8, EpilogueKind::store, false, false);
      if (in != 2320) compare<cuda::gemv_tall, float>(p, 9, EpilogueKind::store, false, false);
    }
  }
}

TEST_CASE("on CUDA gemv loses no bit of half weights") {
  compare<cuda::gemv_narrow, float>(Problem<half>(17, 304), 3, EpilogueKind::store, false, false);
  // With one weight that is not zero, a product has nowhere to hide an error but its own rounding.
  Problem<half> p(24, 48);
  for (int o = 0; o < p.out; ++o) {
    for (int k = 0; k < p.in; ++k) {
      const std::uint16_t bits = k == o ? std::uint16_t(0x3c01 + 0x155 * o) : std::uint16_t(0);
      p.w[std::size_t(o * p.in + k)] = half{bits};
    }
  }
  cuda::Context ctx;
  for_each_order([&] {
    DeviceArray<bf16> x(p.x);
    DeviceArray<half> w(p.w);
    DeviceArray<float> y(std::size_t(p.out));
    const PlacedMatrix placed{Format::f16, Fusion::stacked, p.out, p.in,
                              Memory{nullptr, reinterpret_cast<std::byte*>(w.data()), p.w.size() * sizeof(half)}};
    gemv(ctx, cuda::choose_gemv(1, placed.out), Rows<const bf16>(x.data(), 1, p.in, p.x_stride), placed, Epilogue{},
         Rows<float>(y.data(), 1, p.out));
    const std::vector<float> result = y.download();
    for (int o = 0; o < p.out; ++o) {
      const double want = p.x_at(0, o) * p.w_at(o, o);  // 8 + 11 bits: a float
      REQUIRE(double(result[std::size_t(o)]) == want);
    }
  });
}

TEST_CASE(
    "on CUDA the bits of a row of gemv depend neither on the number of rows, nor on its place, nor on the policy") {
  cuda::Context ctx;
  const Problem<bf16> p(33, 592);
  for_each_order([&] {
    DeviceArray<bf16> x(p.x);
    DeviceArray<bf16> w(p.w);
    const PlacedMatrix placed{Format::bf16, Fusion::stacked, p.out, p.in,
                              Memory{nullptr, reinterpret_cast<std::byte*>(w.data()), p.w.size() * sizeof(bf16)}};
    const Rows<const bf16> all(x.data(), p.rows, p.in, p.x_stride);
    const auto run = [&](auto policy, int first, int rows) {
      DeviceArray<float> y(std::size_t(rows * p.out));
      const Rows<float> result(y.data(), rows, p.out);
      gemv<decltype(policy)::value>(ctx, all.slice(first, rows), placed, Epilogue{}, result);
      return y.download();
    };
    const std::vector<float> together = run(Constant<cuda::gemv_tall>{}, 0, p.rows);
    const auto same = [&](const std::vector<float>& part, int first) {
      return std::memcmp(part.data(), &together[std::size_t(first * p.out)], part.size() * sizeof(float)) == 0;
    };
    for (int rows = 1; rows < p.rows; ++rows) {
      CAPTURE(rows);
      const int first = (7 * rows) % (p.rows - rows + 1);
      REQUIRE(same(run(Constant<cuda::gemv_tall>{}, first, rows), first));
      if (rows <= 8) REQUIRE(same(run(Constant<cuda::gemv_narrow>{}, first, rows), first));
      if (rows <= 8 && rows % 3 == 0) REQUIRE(same(run(Constant<cuda::gemv_wide>{}, first, rows), first));
    }
  });
}

// In a row of 16 one warp of rms_norm has one lane at work; 2320 is five of its warps, 4112 nine, so that one of gemv's
// has two of them, and 8192 are sixteen.
TEST_CASE("on CUDA norm_gemv has the bits of rms_norm and gemv") {
  for (const int in : {16, 528, 2320}) {
    const Problem<bf16> p(9, in);
    for (int rows = 1; rows <= 8; ++rows) {
      if (in != 2320 || rows % 3 == 1) compare_normed<cuda::gemv_narrow>(p, rows);
      if (in == 528 && rows % 2 == 1) compare_normed<cuda::gemv_wide>(p, rows);
    }
  }
  const Problem<bf16> p(9, 272);
  for (int rows = 1; rows <= p.rows; rows += 3) compare_normed<cuda::gemv_tall>(p, rows);
  compare_normed<cuda::gemv_tall>(p, 15);
  compare_normed<cuda::gemv_wide>(Problem<bf16>(3, 4112), 3);
  compare_normed<cuda::gemv_tall>(Problem<bf16>(3, 4112), 11);
  compare_normed<cuda::gemv_narrow>(Problem<bf16>(3, 8192), 2);
}

TEST_CASE("on CUDA gemv has nothing to do for no rows, and refuses rows that it cannot load") {
  cuda::Context ctx;
  DeviceArray<bf16> x(64), w(64);
  DeviceArray<float> y(16);
  PlacedMatrix placed{Format::bf16, Fusion::stacked, 2, 32,
                      Memory{nullptr, reinterpret_cast<std::byte*>(w.data()), 64 * sizeof(bf16)}};
  gemv(ctx, cuda::choose_gemv(0, placed.out), Rows<const bf16>(x.data(), 0, 32), placed, Epilogue{},
       Rows<float>(y.data(), 0, 2));
  const std::vector<float> untouched = y.download();
  CHECK(std::all_of(untouched.begin(), untouched.end(), is_nan<float>));
  CHECK_THROWS_AS(gemv(ctx, cuda::choose_gemv(1, placed.out), Rows<const bf16>(x.data(), 1, 32, 36), placed, Epilogue{},
                       Rows<float>(y.data(), 1, 2)),
                  RequestError);
  CHECK_THROWS_AS(gemv(ctx, cuda::choose_gemv(1, placed.out), Rows<const bf16>(x.data() + 4, 1, 32), placed, Epilogue{},
                       Rows<float>(y.data(), 1, 2)),
                  RequestError);
  placed.in = 24;
  CHECK_THROWS_WITH_AS(gemv(ctx, cuda::choose_gemv(1, placed.out), Rows<const bf16>(x.data(), 1, 24), placed,
                            Epilogue{}, Rows<float>(y.data(), 1, 2)),
                       "gemv on CUDA: expected rows of a multiple of 16 scalars, found 24", RequestError);
  placed.in = 16400;
  CHECK_THROWS_WITH_AS(norm_gemv(ctx, cuda::gemv_narrow, Rows<const bf16>(x.data(), 1, 16400), y.data(), eps, placed,
                                 Epilogue{}, Rows<float>(y.data(), 1, 2)),
                       "norm on CUDA: expected rows of at most 16384 scalars, found 16400", RequestError);
}
