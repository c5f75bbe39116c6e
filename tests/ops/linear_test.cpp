#include "ivl/cpu/linear.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "ivl/cpu/norm.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/ops/norm_linear.hpp"
#include "tests/support/file_matrix.hpp"
#include "tests/support/poisoned_rows.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

template <class Scalar>
Scalar poison() {
  return round_to<Scalar>(std::numeric_limits<float>::quiet_NaN());
}

template <class Scalar>
bool same_bits(const Scalar* a, const Scalar* b, std::int64_t number) {
  return std::memcmp(a, b, std::size_t(number) * sizeof(Scalar)) == 0;
}

/// A matrix as a file holds it: at an odd address.
template <class Scalar>
class ScalarMatrix {
 public:
  template <class Random>
  ScalarMatrix(int out, int in, Random&& random) : out(out), in(in), values(std::size_t(out) * std::size_t(in)) {
    for (Scalar& value : values) value = round_to<Scalar>(random());
    file_.resize(values.size() * sizeof(Scalar) + 1);
    if (!values.empty()) std::memcpy(file_.data() + 1, values.data(), file_.size() - 1);
  }
  SourceMatrix source() const {
    return source_matrix(format_of(kind_of<Scalar>), out, in, {std::span(file_).subspan(1)});
  }
  double at(std::int64_t o, std::int64_t k) const { return double(to_float(values[std::size_t(o * in + k)])); }
  PlacedMatrix place(cpu::Context& ctx, bool gated) const {
    const SourceMatrix whole[] = {source()},
                       halves[] = {whole[0].outputs(0, out / 2), whole[0].outputs(out / 2, out / 2)};
    return gated ? place_matrix(ctx, halves, Fusion::interleaved) : place_matrix(ctx, whole, Fusion::stacked);
  }

  int out, in;
  std::vector<Scalar> values;

 private:
  std::vector<std::byte> file_;
};

/// A combination that models use: weights as stored, activations, results.
template <class Stored, class Activation, class Outcome>
struct Combination {
  using Weight = Stored;
  using X = Activation;
  using Y = Outcome;
};
#define ALL_COMBINATIONS                                                                               \
  Combination<bf16, bf16, bf16>, Combination<half, bf16, bf16>, Combination<float, bf16, bf16>,        \
      Combination<bf16, bf16, float>, Combination<half, bf16, float>, Combination<float, bf16, float>, \
      Combination<bf16, float, float>, Combination<half, float, float>, Combination<float, float, float>

constexpr int row_counts[] = {0, 1, 2, 3, 7, 17, 64, 513};

struct Size {
  int out, in;
};

double silu(double u) { return u / (1 + std::exp(-u)); }

template <class Scalar>
PoisonedRows<Scalar> random_rows(int rows, int width, std::mt19937& random) {
  std::normal_distribution<float> normal;
  PoisonedRows<Scalar> x(rows, width);
  for (int r = 0; r < rows; ++r) {
    for (int k = 0; k < width; ++k) x.rows()[r][k] = round_to<Scalar>(normal(random));
  }
  return x;
}

PlacedMatrix place(cpu::Context& ctx, std::initializer_list<const FileMatrix*> files, Fusion fusion = Fusion::stacked) {
  std::vector<SourceMatrix> parts;
  for (const FileMatrix* file : files) parts.push_back(file->source());
  return place_matrix(ctx, parts, fusion);
}

/// A sum, and how far off it may be.
struct Sum {
  double value = 0, error = 0;
  /// Each term rounds a product and a sum, as does each block of MXFP4; partial sums are no larger than the terms'
  /// sizes.
  template <class Scalar>
  Sum(const Scalar* x, const FileMatrix& w, int output) {
    for (int k = 0; k < w.in; ++k) {
      const double term = double(to_float(x[k])) * w.at(output, k);
      value += term;
      error += (w.in + w.in / 32 + 2) * float_unit * std::abs(term);
    }
  }
};

}  // namespace

TYPE_TO_STRING(Combination<bf16, bf16, bf16>);
TYPE_TO_STRING(Combination<half, bf16, bf16>);
TYPE_TO_STRING(Combination<float, bf16, bf16>);
TYPE_TO_STRING(Combination<bf16, bf16, float>);
TYPE_TO_STRING(Combination<half, bf16, float>);
TYPE_TO_STRING(Combination<float, bf16, float>);
TYPE_TO_STRING(Combination<bf16, float, float>);
TYPE_TO_STRING(Combination<half, float, float>);
TYPE_TO_STRING(Combination<float, float, float>);

TEST_CASE_TEMPLATE("a product of small whole numbers is exact, with bias, scale and the old y", Types,
                   ALL_COMBINATIONS) {
  using X = typename Types::X;
  using Y = typename Types::Y;
  std::mt19937 random(1);
  const auto small = [&] { return float(int(random() % 7) - 3); };
  cpu::Context ctx(2);
  for (const Size size : {Size{1, 1}, Size{16, 2}, Size{48, 48}, Size{80, 80}, Size{90, 131}, Size{130, 588}}) {
    const ScalarMatrix<typename Types::Weight> w(size.out, size.in, small);
    const PlacedMatrix placed = w.place(ctx, false);
    std::vector<float> bias(std::size_t(size.out) + 16, poison<float>()), scale = bias;
    for (int o = 0; o < size.out; ++o) {
      bias[std::size_t(o)] = small();
      scale[std::size_t(o)] = std::ldexp(1.0f, int(random() % 3) - 1);
    }
    for (const int rows : row_counts) {
      PoisonedRows<X> x(rows, size.in);
      PoisonedRows<Y> old(rows, size.out);
      for (int r = 0; r < rows; ++r) {
        for (int k = 0; k < size.in; ++k) x.rows()[r][k] = round_to<X>(small());
        for (int o = 0; o < size.out; ++o) old.rows()[r][o] = round_to<Y>(small());
      }
      // Every row of a few, every 23rd of many: the sums here are the slow part of the test.
      const int step = rows > 100 ? 23 : 1;
      std::vector<double> sums;
      for (int r = 0; r < rows; r += step) {
        for (int o = 0; o < size.out; ++o) {
          double sum = 0;
          for (int k = 0; k < size.in; ++k) sum += double(to_float(x.rows()[r][k])) * w.at(o, k);
          sums.push_back(sum);
        }
      }
      for (const Epilogue epilogue :
           {Epilogue{}, Epilogue{EpilogueKind::store, bias.data(), nullptr},
            Epilogue{EpilogueKind::add, nullptr, nullptr}, Epilogue{EpilogueKind::add, bias.data(), scale.data()}}) {
        CAPTURE(size.out);
        CAPTURE(size.in);
        CAPTURE(rows);
        CAPTURE(int(epilogue.kind));
        PoisonedRows<Y> y = old;
        if (epilogue.kind == EpilogueKind::store) y = PoisonedRows<Y>(rows, size.out);
        linear(ctx, x.read(), placed, epilogue, y.rows());
        REQUIRE(y.only_rows_written());
        auto sum = sums.begin();
        for (int r = 0; r < rows; r += step) {
          for (int o = 0; o < size.out; ++o) {
            double want = *sum++;
            if (epilogue.bias) want += bias[std::size_t(o)];
            if (epilogue.scale) want *= scale[std::size_t(o)];
            if (epilogue.kind == EpilogueKind::add) want += double(to_float(old.rows()[r][o]));
            const Y rounded = round_to<Y>(float(want));  // the sums have at most 24 bits: float(want) is want
            if (!same_bits(&y.rows()[r][o], &rounded, 1)) REQUIRE(to_float(y.rows()[r][o]) == want);
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("every epilogue agrees with the double-precision formula", Types, ALL_COMBINATIONS) {
  using X = typename Types::X;
  using Y = typename Types::Y;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  cpu::Context ctx(2);
  for (const Size size : {Size{96, 588}, Size{70, 147}}) {
    const ScalarMatrix<typename Types::Weight> w(size.out, size.in,
                                                 [&] { return normal(random) / std::sqrt(float(size.in)); });
    std::vector<float> bias(std::size_t(size.out)), scale(std::size_t(size.out));
    for (float& b : bias) b = normal(random);
    for (float& s : scale) s = normal(random);
    const int rows = 29;
    PoisonedRows<X> x(rows, size.in);
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < size.in; ++k) x.rows()[r][k] = round_to<X>(2 * normal(random));
    }
    for (const Epilogue epilogue :
         {Epilogue{}, Epilogue{EpilogueKind::store, bias.data(), nullptr},
          Epilogue{EpilogueKind::gelu, bias.data(), nullptr}, Epilogue{EpilogueKind::add, bias.data(), scale.data()},
          Epilogue{EpilogueKind::swi_glu, nullptr, nullptr}}) {
      const bool gated = epilogue.kind == EpilogueKind::swi_glu;
      const int width = gated ? size.out / 2 : size.out;
      PoisonedRows<Y> y(rows, width);
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < width; ++o) y.rows()[r][o] = round_to<Y>(normal(random));
      }
      PoisonedRows<Y> old = y;
      linear(ctx, x.read(), w.place(ctx, gated), epilogue, y.rows());
      REQUIRE(y.only_rows_written());
      for (int r = 0; r < rows; ++r) {
        // A sum, and how far off it may be: one rounding of the product and one of the sum for each of `in` terms, and
        // partial sums are no larger than the sum of the terms' sizes.
        struct Sum {
          double value, error;
        };
        const auto sum_of = [&](int o) {
          double sum = 0, size_of_terms = 0;
          for (int k = 0; k < size.in; ++k) {
            const double term = double(to_float(x.rows()[r][k])) * w.at(o, k);
            sum += term;
            size_of_terms += std::abs(term);
          }
          return Sum{sum, (size.in + 1) * float_unit * size_of_terms};
        };
        for (int o = 0; o < width; ++o) {
          auto [u, error] = sum_of(o);
          if (epilogue.bias) error += float_unit * std::abs(u += bias[std::size_t(o)]);
          if (epilogue.scale) {
            const double s = scale[std::size_t(o)];
            error = error * std::abs(s) + float_unit * std::abs(u *= s);
          }
          double want = u;
          if (epilogue.kind == EpilogueKind::gelu) {
            want = 0.5 * u * std::erfc(-u / std::sqrt(2.0));
            error = 1.13 * error + 1e-6 * std::abs(want);  // the slope is at most 1.129; 1e-6 is a test of its own
          } else if (epilogue.kind == EpilogueKind::add) {
            want += double(to_float(old.rows()[r][o]));
            error += float_unit * std::abs(want);
          } else if (gated) {
            const Sum up = sum_of(o + width);
            want = silu(u) * up.value;
            // The slope of silu is at most 1.1; 1e-6 is a test of its own; the product rounds once.
            error = 1.1 * error * (std::abs(up.value) + up.error) + std::abs(silu(u)) * up.error +
                    (1e-6 + float_unit) * std::abs(want);
          }
          const double allowed = error + rounding_unit<Y> * (std::abs(want) + error) + 1e-37;
          const double off = std::abs(double(to_float(y.rows()[r][o])) - want);
          CAPTURE(int(epilogue.kind));
          if (!(off <= allowed)) REQUIRE(double(to_float(y.rows()[r][o])) == want);
        }
      }
    }
  }
}

TEST_CASE("GELU and SiLU keep six digits everywhere, also where 1 + erf would cancel") {
  cpu::Context ctx(1);
  std::vector<float> inputs{0.0f, -0.0f, 1e-30f, -1e-30f};
  for (int i = -20000; i <= 20000; ++i) inputs.push_back(float(i) * 0.001f + 1e-5f);
  const int rows = int(inputs.size());
  // x = (v, 1): the gate is v and up is 1.
  std::vector<float> x;
  for (const float v : inputs) x.insert(x.end(), {v, 1});
  const float identity[] = {1, 0, 0, 1};
  const auto bytes = std::as_bytes(std::span(identity));
  const SourceMatrix gate = source_matrix(Format::f32, 1, 2, {bytes.first(8)}),
                     up = source_matrix(Format::f32, 1, 2, {bytes.last(8)});
  const SourceMatrix parts[] = {gate, up};
  std::vector<float> y(inputs.size());
  const auto run = [&](const PlacedMatrix& w, EpilogueKind kind) {
    linear(ctx, Rows<const float>(x.data(), rows, 2), w, Epilogue{kind, nullptr, nullptr},
           Rows<float>(y.data(), rows, 1));
  };
  const auto check = [&](auto&& formula) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const double want = formula(double(inputs[i]));
      // Below 1e-37 floats lose digits.
      if (!(std::abs(y[i] - want) <= 1e-6 * std::abs(want) + 1e-37)) {
        CAPTURE(inputs[i]);
        REQUIRE(double(y[i]) == want);
      }
    }
  };
  run(place_matrix(ctx, {&gate, 1}, Fusion::stacked), EpilogueKind::gelu);
  check([](double u) { return 0.5 * u * std::erfc(-u / std::sqrt(2.0)); });
  run(place_matrix(ctx, parts, Fusion::interleaved), EpilogueKind::swi_glu);
  check(silu);
}

TEST_CASE("GELU and SiLU of huge numbers are those numbers or nothing") {
  cpu::Context ctx(1);
  const float infinity = std::numeric_limits<float>::infinity();
  const float inputs[] = {-infinity, -1e30f, -1e4f, -100, 100, 1e4f, 1e30f, infinity};
  const float one = 1;
  const SourceMatrix view = source_matrix(Format::f32, 1, 1, {std::as_bytes(std::span(&one, 1))});
  const SourceMatrix parts[] = {view, view};  // up is the gate itself: y = silu(u) u
  for (const float u : inputs) {
    CAPTURE(u);
    float y;
    linear(ctx, Rows<const float>(&u, 1, 1), place_matrix(ctx, {&view, 1}, Fusion::stacked),
           Epilogue{EpilogueKind::gelu, nullptr, nullptr}, Rows<float>(&y, 1, 1));
    CHECK(y == (u < 0 ? 0 : u));
    linear(ctx, Rows<const float>(&u, 1, 1), place_matrix(ctx, parts, Fusion::interleaved),
           Epilogue{EpilogueKind::swi_glu, nullptr, nullptr}, Rows<float>(&y, 1, 1));
    if (u > 0) CHECK(y == u * u);
    if (u < 0 && u > -1e30f) CHECK(std::abs(y) < 1e-30f);
  }
}

TEST_CASE("SiLU of the lowest numbers, minus infinity too, is nothing beside an ordinary factor") {
  cpu::Context ctx(1);
  // Gates of -1e30, -3e38 and less than any float; up is 1.
  const float x = -1e10f, up_weight = -1e-10f;
  const SourceMatrix up = source_matrix({Dtype::f32, {1, 1}, std::as_bytes(std::span(&up_weight, 1))});
  for (const float gate_weight : {1e20f, 3e28f, 1e38f}) {
    CAPTURE(gate_weight);
    const SourceMatrix parts[] = {source_matrix({Dtype::f32, {1, 1}, std::as_bytes(std::span(&gate_weight, 1))}), up};
    float y = 1;
    linear(ctx, Rows<const float>(&x, 1, 1), place_matrix(ctx, parts, Fusion::interleaved),
           Epilogue{EpilogueKind::swi_glu, nullptr, nullptr}, Rows<float>(&y, 1, 1));
    CHECK(std::abs(y) < 1e-36f);
  }
}

TEST_CASE_TEMPLATE("a row's bits depend neither on the rows beside it nor on the number of threads", Types,
                   Combination<bf16, bf16, bf16>, Combination<half, bf16, float>, Combination<bf16, float, float>,
                   Combination<float, float, float>) {
  using X = typename Types::X;
  using Y = typename Types::Y;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const int out = 2 * 35, in = 589, most = 205;
  cpu::Context one(1);
  const ScalarMatrix<typename Types::Weight> w(out, in, [&] { return normal(random); });
  PoisonedRows<X> x(most, in);
  for (int r = 0; r < most; ++r) {
    for (int k = 0; k < in; ++k) x.rows()[r][k] = round_to<X>(normal(random));
  }
  for (const EpilogueKind kind : {EpilogueKind::store, EpilogueKind::gelu, EpilogueKind::swi_glu}) {
    const bool gated = kind == EpilogueKind::swi_glu;
    const int width = gated ? out / 2 : out;
    const PlacedMatrix placed = w.place(one, gated);
    PoisonedRows<Y> all(most, width);
    linear(one, x.read(), placed, Epilogue{kind, nullptr, nullptr}, all.rows());
    const auto check = [&](cpu::Context& ctx, int first, int rows) {
      PoisonedRows<Y> y(rows, width);
      linear(ctx, x.read().slice(first, rows), placed, Epilogue{kind, nullptr, nullptr}, y.rows());
      for (int r = 0; r < rows; ++r) {
        CAPTURE(first);
        CAPTURE(rows);
        CAPTURE(ctx.threads());
        REQUIRE(same_bits(y.rows()[r], all.rows()[first + r], width));
      }
    };
    for (int rows = 1; rows <= 40; ++rows) check(one, 11, rows);
    for (const int rows : {95, 96, 97, 193}) check(one, 1, rows);
    for (const int threads : {2, 3, 5}) {
      cpu::Context ctx(threads);
      for (const int rows : {1, 2, 8, 19, 100, most}) check(ctx, 0, rows);
    }
  }
}

TEST_CASE_TEMPLATE("linear takes every format, few rows and many", X, bf16, float) {
  std::mt19937 random(6);
  cpu::Context ctx(2);
  const int out = 72, in = 512;
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, out, in, random, 1 / std::sqrt(double(in)));
    const PlacedMatrix w = place(ctx, {&file});
    CHECK(w.format() == format);
    for (const int rows : {1, 2, 7, 19, 70}) {
      const PoisonedRows<X> x = random_rows<X>(rows, in, random);
      PoisonedRows<X> y(rows, out);
      linear(ctx, x.read(), w, Epilogue{}, y.rows());
      REQUIRE(y.only_rows_written());
      double worst = 0;
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < out; ++o) {
          const Sum want(x.read()[r], file, o);
          const double allowed = want.error + rounding_unit<X> * (std::abs(want.value) + want.error) + 1e-37;
          const double off = std::abs(double(to_float(y.rows()[r][o])) - want.value) / allowed;
          keep_worst(worst, off);
        }
      }
      CAPTURE(rows);
      CHECK(worst <= 1);
    }
  }
}

TEST_CASE_TEMPLATE("in every format a row's bits do not depend on the rows beside it", X, bf16, float) {
  std::mt19937 random(7);
  cpu::Context one(1), three(3);
  const int out = 72, in = 512, most = 205;
  const PoisonedRows<X> x = random_rows<X>(most, in, random);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, out, in, random);
    const PlacedMatrix w = place(one, {&file});
    PoisonedRows<X> all(most, out);
    linear(one, x.read(), w, Epilogue{}, all.rows());
    for (const int rows : {1, 2, 3, 5, 6, 8, 11, 17, 18, 19, 40, 63, 64, 97, 193}) {
      PoisonedRows<X> y(rows, out);
      linear(rows % 2 == 0 ? three : one, x.read().slice(3, rows), w, Epilogue{}, y.rows());
      int different = 0;
      for (int r = 0; r < rows; ++r) different += !same_bits(y.rows()[r], all.rows()[3 + r], out);
      CAPTURE(rows);
      CHECK(different == 0);
    }
  }
}

TEST_CASE_TEMPLATE("q, k and v in different formats make the bits that each makes alone", X, bf16, float) {
  std::mt19937 random(8);
  cpu::Context ctx(2);
  const int heights[] = {40, 24, 16};
  std::vector<float> bias(80), scale(80);
  std::normal_distribution<float> normal;
  for (std::size_t o = 0; o < 80; ++o) {
    bias[o] = normal(random);
    scale[o] = normal(random);
  }
  for (std::size_t i = 0; i < std::size(every_format) * std::size(every_format); ++i) {
    const Format formats[] = {every_format[i % std::size(every_format)], every_format[i / std::size(every_format)],
                              every_format[i % 5]};
    const bool blocks = std::any_of(formats, formats + 3, [](Format format) { return block_of(format) > 1; });
    const int in = blocks ? 512 : 77;
    const FileMatrix files[] = {{formats[0], heights[0], in, random},
                                {formats[1], heights[1], in, random},
                                {formats[2], heights[2], in, random}};
    const PlacedMatrix w = place(ctx, {&files[0], &files[1], &files[2]});
    CAPTURE(formats_of(w));
    CHECK(w.strip_count == 1 + (formats[0] != formats[1]) + (formats[1] != formats[2]));
    for (const int rows : {1, 20}) {
      const PoisonedRows<X> x = random_rows<X>(rows, in, random);
      const PoisonedRows<X> before = random_rows<X>(rows, 80, random);
      PoisonedRows<X> y = before;
      linear(ctx, x.read(), w, Epilogue{EpilogueKind::add, bias.data(), scale.data()}, y.rows());
      REQUIRE(y.only_rows_written());
      int first = 0, different = 0;
      for (const FileMatrix& file : files) {
        PoisonedRows<X> alone(rows, file.out);
        for (int r = 0; r < rows; ++r) std::copy_n(before.read()[r] + first, file.out, alone.rows()[r]);
        linear(ctx, x.read(), place(ctx, {&file}),
               Epilogue{EpilogueKind::add, bias.data() + first, scale.data() + first}, alone.rows());
        for (int r = 0; r < rows; ++r) different += !same_bits(y.rows()[r] + first, alone.rows()[r], file.out);
        first += file.out;
      }
      CHECK(different == 0);
    }
  }
}

TEST_CASE_TEMPLATE("gate and up in any two formats agree with the double-precision formula", X, bf16, float) {
  std::mt19937 random(9);
  cpu::Context ctx(2);
  const int in = 256, height = 40;
  for (std::size_t i = 0; i < std::size(every_format) * std::size(every_format); ++i) {
    const FileMatrix gate(every_format[i % std::size(every_format)], height, in, random, 2 / std::sqrt(double(in))),
        up(every_format[i / std::size(every_format)], height, in, random, 1 / std::sqrt(double(in)));
    const PlacedMatrix w = place(ctx, {&gate, &up}, Fusion::interleaved);
    CAPTURE(formats_of(w));
    CHECK(w.split() == (gate.format != up.format));
    for (const int rows : {1, 20}) {
      const PoisonedRows<X> x = random_rows<X>(rows, in, random);
      PoisonedRows<X> y(rows, height);
      linear(ctx, x.read(), w, Epilogue{EpilogueKind::swi_glu, nullptr, nullptr}, y.rows());
      REQUIRE(y.only_rows_written());
      double worst = 0;
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < height; ++o) {
          const Sum g(x.read()[r], gate, o), u(x.read()[r], up, o);
          const double want = silu(g.value) * u.value;
          // |silu'| <= 1.1; silu itself is within 1e-6; the product rounds once, as does the result.
          const double error = 1.1 * g.error * (std::abs(u.value) + u.error) + std::abs(silu(g.value)) * u.error +
                               (1e-6 + float_unit) * std::abs(want);
          const double allowed = 1.01 * (error + rounding_unit<X> * (std::abs(want) + error)) + 1e-37;
          const double off = std::abs(double(to_float(y.rows()[r][o])) - want) / allowed;
          keep_worst(worst, off);
        }
      }
      CHECK(worst <= 1);
    }
  }
}

TEST_CASE("a head may have any format") {
  std::mt19937 random(10);
  cpu::Context ctx(2);
  constexpr int vocabulary = 328, in = 256;
  const PoisonedRows<bf16> x = random_rows<bf16>(2, in, random);
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, vocabulary, in, random);
    const Weight<dynamic, in> head{place(ctx, {&file})};
    PoisonedRows<float> y(2, vocabulary);
    linear(ctx, Rows<const bf16, in>(x.read().data, 2, x.read().stride), head, y.rows());
    REQUIRE(y.only_rows_written());
    double worst = 0;
    for (int r = 0; r < 2; ++r) {
      for (int o = 0; o < vocabulary; ++o) {
        const Sum want(x.read()[r], file, o);
        const double off = std::abs(double(y.rows()[r][o]) - want.value) / (want.error + 1e-37);
        keep_worst(worst, off);
      }
    }
    CHECK(worst <= 1);
  }
}

TEST_CASE("the widths that dense checkpoints have are exact") {
  // Patches; hidden, feed-forward and attention widths of the towers and decoders.
  constexpr int widths[] = {588,  896,  1024, 1536, 2048,  2560,  3072,  3200,  3584,  4096,  4864,  5120,
                            6144, 8192, 8960, 9728, 12288, 12800, 13824, 17408, 18944, 25600, 27648, 29568};
  std::mt19937 random(4);
  const auto small = [&] { return float(int(random() % 5) - 2); };
  cpu::Context ctx(2);
  const int out = 80;
  for (const int in : widths) {
    CAPTURE(in);
    const ScalarMatrix<bf16> w(out, in, small);
    const PlacedMatrix placed = w.place(ctx, false);
    for (const int rows : {1, 20}) {
      PoisonedRows<bf16> x(rows, in);
      for (int r = 0; r < rows; ++r) {
        for (int k = 0; k < in; ++k) x.rows()[r][k] = round_to<bf16>(small());
      }
      PoisonedRows<float> y(rows, out);
      linear(ctx, x.read(), placed, Epilogue{}, y.rows());
      for (int r = 0; r < rows; r += 7) {
        for (int o = 0; o < out; ++o) {
          double want = 0;
          for (int k = 0; k < in; ++k) want += double(to_float(x.rows()[r][k])) * w.at(o, k);
          if (y.rows()[r][o] != want) REQUIRE(y.rows()[r][o] == want);
        }
      }
    }
  }
}

TEST_CASE("a head with a vocabulary of 151674, not a multiple of sixteen, writes each logit and nothing behind them") {
  std::mt19937 random(5);
  const auto small = [&] { return float(int(random() % 5) - 2); };
  cpu::Context ctx(2);
  const int vocabulary = 151674, in = 24;
  const ScalarMatrix<bf16> w(vocabulary, in, small);
  const Weight<dynamic, in> head{w.place(ctx, false)};
  std::vector<bf16> x(2 * in);
  for (bf16& value : x) value = round_to<bf16>(small());
  PoisonedRows<float> y(2, vocabulary);
  linear(ctx, Rows<const bf16, in>(x.data(), 2), head, y.rows());
  REQUIRE(y.only_rows_written());
  for (int r = 0; r < 2; ++r) {
    for (int o = 0; o < vocabulary; ++o) {
      double want = 0;
      for (int k = 0; k < in; ++k) want += double(to_float(x[std::size_t(r * in + k)])) * w.at(o, k);
      if (y.rows()[r][o] != want) REQUIRE(y.rows()[r][o] == want);
    }
  }
}

TEST_CASE_TEMPLATE("a NaN reaches its whole row and no other", Types, ALL_COMBINATIONS) {
  using X = typename Types::X;
  using Y = typename Types::Y;
  cpu::Context ctx(1);
  const int out = 40, in = 33, rows = 25;
  const ScalarMatrix<typename Types::Weight> w(out, in, [] { return 1.0f; });
  for (const bool gated : {false, true}) {
    const PlacedMatrix placed = w.place(ctx, gated);
    for (const EpilogueKind kind :
         {gated ? EpilogueKind::swi_glu : EpilogueKind::store, gated ? EpilogueKind::swi_glu : EpilogueKind::gelu}) {
      PoisonedRows<X> x(rows, in);
      for (int r = 0; r < rows; ++r) std::fill_n(x.rows()[r], in, round_to<X>(1));
      x.rows()[4][in - 1] = poison<X>();
      x.rows()[20][0] = poison<X>();
      PoisonedRows<Y> y(rows, gated ? out / 2 : out);
      linear(ctx, x.read(), placed, Epilogue{kind, nullptr, nullptr}, y.rows());
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < y.width; ++o) REQUIRE(std::isnan(to_float(y.rows()[r][o])) == (r == 4 || r == 20));
      }
    }
  }
}

TEST_CASE("typed rows and weights reach the backend") {
  cpu::Context ctx(1);
  const ScalarMatrix<bf16> w(32, 16, [] { return 1.0f; });
  const Weight<32, 16> weight{w.place(ctx, false)}, gate_up{w.place(ctx, true)};
  std::vector<bf16> x(16, round_to<bf16>(1)), y(32);
  linear(ctx, Rows<const bf16, 16>(x.data(), 1), weight, Store<32>(), Rows<bf16, 32>(y.data(), 1));
  for (const bf16 value : y) CHECK(to_float(value) == 16);
  linear(ctx, Rows<const bf16, 16>(x.data(), 1), gate_up, SwiGlu(), Rows<bf16, 16>(y.data(), 1));
  for (int o = 0; o < 32; ++o) CHECK(to_float(y[std::size_t(o)]) == (o < 16 ? 256 : 16));
}

TEST_CASE("norm_linear is rms_norm and linear where a backend has no more to offer") {
  cpu::Context ctx(1);
  static_assert(!NormLinearOp<cpu::Context, bf16>);
  const ScalarMatrix<bf16> w(32, 16, [] { return 1.0f; });
  const Weight<32, 16> weight{w.place(ctx, false)};
  const Weight<dynamic, 16> head{weight.placed};
  std::vector<float> gains(16, 4.0f);
  const Vector<16> gain{{16, {nullptr, reinterpret_cast<std::byte*>(gains.data()), 16 * sizeof(float)}}};
  std::vector<bf16> x(16, round_to<bf16>(1)), room(16), y(32);
  norm_linear(ctx, Rows<const bf16, 16>(x.data(), 1), gain, 3.0f, weight, Store<32>(), Rows<bf16, 16>(room.data(), 1),
              Rows<bf16, 32>(y.data(), 1));
  for (const bf16 value : y) CHECK(to_float(value) == 16 * 4 / 2);
  std::vector<float> logits(32);
  const Rows<bf16, 16> in_place(x.data(), 1);
  norm_linear(ctx, in_place, gain, 3.0f, head, in_place, Rows<float>(logits.data(), 1, 32));
  for (const float value : logits) CHECK(value == 16 * 4 / 2);
}
