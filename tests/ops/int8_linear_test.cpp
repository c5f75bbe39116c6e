// Products with Numbers::int8. The reference is the formula of cpu/int8_product.hpp on one row and one output: codes
// and scales as files have them, sums of whole numbers, and floats in the order that is promised. It gives the same
// bits at every level.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "ivl/cpu/linear.hpp"
#include "ivl/cpu/moe.hpp"
#include "ivl/cpu/place.hpp"
#include "tests/support/file_matrix.hpp"
#include "tests/support/int8_reference.hpp"
#include "tests/support/poisoned_rows.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
using cpu::Numbers;

constexpr Format int8_formats[] = {Format::f32,  Format::bf16, Format::f16,  Format::q8_0, Format::q4_0,
                                   Format::q4_1, Format::q5_0, Format::q5_1, Format::q2_k, Format::q4_k,
                                   Format::q5_k, Format::q6_k, Format::awq};

template <class Scalar>
PoisonedRows<Scalar> rows_of(int rows, int width, std::mt19937& random) {
  std::normal_distribution<float> normal;
  PoisonedRows<Scalar> x(rows, width);
  for (int r = 0; r < rows; ++r) {
    // Some blocks are zeros, and some hold one number that dwarfs the others.
    for (int k = 0; k < width; ++k)
      x.rows()[r][k] = round_to<Scalar>((r + k / 128) % 5 == 1 ? 0 : normal(random) * ((r + k) % 97 == 3 ? 60.0f : 1));
  }
  return x;
}

template <class Scalar>
Coded coded(Rows<const Scalar> x, int row) {
  std::vector<float> numbers;
  for (int k = 0; k < x.width(); ++k) numbers.push_back(to_float(x[row][k]));
  return Coded(numbers.data(), int(x.width()));
}

PlacedMatrix place(cpu::Context& ctx, std::initializer_list<const FileMatrix*> files, Fusion fusion = Fusion::stacked) {
  std::vector<SourceMatrix> parts;
  for (const FileMatrix* file : files) parts.push_back(file->source());
  return place_matrix(ctx, parts, fusion);
}

template <class Scalar>
int different_bits(const Scalar* a, const Scalar* b, std::int64_t number) {
  int different = 0;
  for (std::int64_t i = 0; i < number; ++i) different += std::memcmp(a + i, b + i, sizeof(Scalar)) != 0;
  return different;
}

/// What a matrix makes of rows is the reference's, bit for bit.
template <class X>
void check_bits(cpu::Context& ctx, const SourceMatrix& source, const std::vector<Output>& outputs, std::mt19937& random,
                std::initializer_list<int> row_counts) {
  const PlacedMatrix w = place_matrix(ctx, {&source, 1}, Fusion::stacked);
  for (const int rows : row_counts) {
    CAPTURE(rows);
    const PoisonedRows<X> x = rows_of<X>(rows, int(source.in), random);
    PoisonedRows<float> y(rows, source.out);
    linear(ctx, x.read(), w, Epilogue{}, y.rows());
    REQUIRE(y.only_rows_written());
    int different = 0;
    for (int r = 0; r < rows; ++r) {
      const Coded row = coded(x.read(), r);
      for (int o = 0; o < source.out; ++o) {
        const float want = product(row, outputs[std::size_t(o)]);
        different += different_bits(&y.rows()[r][o], &want, 1);
      }
    }
    CHECK(different == 0);
  }
}

std::vector<Output> outputs_of(const SourceMatrix& w) {
  std::vector<Output> outputs;
  for (int o = 0; o < w.out; ++o) outputs.push_back(output_of(w, o));
  return outputs;
}

}  // namespace

TEST_CASE_TEMPLATE("int8 products have the bits of the formula, in every format", X, bf16, float) {
  std::mt19937 random(21);
  cpu::Context ctx(2, Numbers::int8);
  for (const Format format : int8_formats) {
    CAPTURE(name_of(format));
    const int block = block_of(format);
    for (const int in : {768, block == 1 ? 77 : block == 32 ? 160 : block == 128 ? 384 : 256}) {
      CAPTURE(in);
      const FileMatrix file(format, 88, in, random, 1 / std::sqrt(double(in)));
      check_bits<X>(ctx, file.source(), outputs_of(file.source()), random, {1, 2, 5, 19});
    }
  }
}

TEST_CASE("int8 products of codes with a float for each row have the bits of the formula") {
  std::mt19937 random(22);
  cpu::Context ctx(2, Numbers::int8);
  const int out = 40, in = 208;
  std::vector<std::int8_t> codes(std::size_t(out) * std::size_t(in));
  for (std::int8_t& code : codes) code = std::int8_t(random());  // -128 too
  std::vector<float> scales;
  for (int o = 0; o < out; ++o) scales.push_back(float(1 + random() % 1000) / 8192 * (o % 3 == 0 ? -1 : 1));
  for (const Format format : {Format::i8_rows, Format::llm_int8}) {
    CAPTURE(name_of(format));
    const SourceMatrix w =
        source_matrix(format, out, in, {std::as_bytes(std::span(codes)), std::as_bytes(std::span(scales))});
    std::vector<Output> outputs;
    for (int o = 0; o < out; ++o) {
      const auto first = codes.begin() + o * in;
      const float scale = scales[std::size_t(o)] * (format == Format::llm_int8 ? LlmInt8::factor : 1);
      outputs.push_back({128, {first, first + in}, {scale, scale}, {}});
    }
    check_bits<bf16>(ctx, w, outputs, random, {1, 7, 64});
  }
}

TEST_CASE("int8 products are as far from exact ones as rounding to codes explains") {
  std::mt19937 random(23);
  cpu::Context exact(2), int8(2, Numbers::int8);
  const int out = 72, in = 512, rows = 9;
  for (const Format format : int8_formats) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, out, in, random, 1 / std::sqrt(double(in)));
    const PoisonedRows<float> x = rows_of<float>(rows, in, random);
    PoisonedRows<float> y(rows, out);
    linear(int8, x.read(), place(int8, {&file}), Epilogue{}, y.rows());
    double worst = 0, sum_of_squares = 0, sum_of_allowed = 0;
    for (int r = 0; r < rows; ++r) {
      const Coded row = coded(x.read(), r);
      for (int o = 0; o < out; ++o) {
        double want = 0, allowed = 0;
        for (int block = 0; block < in; block += 128) {
          double largest = 0;
          for (int k = block; k < block + 128; ++k) largest = std::max(largest, std::abs(file.at(o, k)));
          // A code is half a step off at most, and a hair: 127 / largest is rounded too.
          const double x_step = 0.501 * double(row.scales[std::size_t(block / 128)]);
          const double w_step = block_of(format) == 1 ? 0.501 * largest / 127 : 0;
          for (int k = block; k < block + 128; ++k) {
            const double xk = double(x.read()[r][k]), wk = file.at(o, k);
            want += xk * wk;
            allowed += x_step * std::abs(wk) + w_step * (std::abs(xk) + x_step);
            allowed += 64 * float_unit * std::abs(xk) * std::max(std::abs(wk), largest);
          }
        }
        const double off = double(y.rows()[r][o]) - want;
        keep_worst(worst, std::abs(off) / (allowed + 1e-30));
        sum_of_squares += off * off;
        sum_of_allowed += allowed * allowed;
      }
    }
    CHECK(worst <= 1);
    CHECK(sum_of_squares > 1e-6 * sum_of_allowed);  // it is no exact product
  }
}

TEST_CASE_TEMPLATE("a row's int8 products do not depend on the rows beside it nor on threads", X, bf16, float) {
  std::mt19937 random(24);
  cpu::Context one(1, Numbers::int8), three(3, Numbers::int8);
  const int out = 200, in = 512, most = 205;
  const PoisonedRows<X> x = rows_of<X>(most, in, random);
  for (const Format format : {Format::bf16, Format::q8_0, Format::q4_k, Format::q6_k}) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, out, in, random);
    const PlacedMatrix w = place(one, {&file});
    PoisonedRows<X> all(most, out);
    linear(one, x.read(), w, Epilogue{}, all.rows());
    for (const int rows : {1, 2, 3, 5, 6, 8, 11, 17, 18, 19, 40, 63, 97, 193}) {
      PoisonedRows<X> y(rows, out);
      linear(rows % 2 == 0 ? three : one, x.read().slice(3, rows), w, Epilogue{}, y.rows());
      int different = 0;
      for (int r = 0; r < rows; ++r) different += different_bits(y.rows()[r], all.rows()[3 + r], out);
      CAPTURE(rows);
      CHECK(different == 0);
    }
  }
}

TEST_CASE("q, k, v and gate, up in different formats make int8 products that each makes alone") {
  std::mt19937 random(25);
  cpu::Context ctx(2, Numbers::int8);
  const int in = 512, rows = 8, height = 40;
  const PoisonedRows<bf16> x = rows_of<bf16>(rows, in, random);
  const FileMatrix q(Format::q4_k, height, in, random, 0.05), k(Format::q3_k, height, in, random, 0.05),
      v(Format::bf16, height, in, random, 0.05);
  const auto run = [&](const PlacedMatrix& w, EpilogueKind kind, int width) {
    PoisonedRows<float> y(rows, width);
    linear(ctx, x.read(), w, Epilogue{kind, nullptr, nullptr}, y.rows());
    REQUIRE(y.only_rows_written());
    return y;
  };
  PoisonedRows<float> together = run(place(ctx, {&q, &k, &v}), EpilogueKind::store, 3 * height);
  std::vector<PoisonedRows<float>> alone;
  for (const FileMatrix* file : {&q, &k, &v}) alone.push_back(run(place(ctx, {file}), EpilogueKind::store, height));
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < 3; ++i)
      CHECK(different_bits(together.rows()[r] + i * height, alone[std::size_t(i)].rows()[r], height) == 0);
  }
  // A format that has no such product has the bits of an exact context.
  cpu::Context exact(2);
  PoisonedRows<float> stored(rows, height);
  linear(exact, x.read(), place(exact, {&k}), Epilogue{}, stored.rows());
  for (int r = 0; r < rows; ++r) CHECK(different_bits(stored.rows()[r], alone[1].rows()[r], height) == 0);

  for (const FileMatrix* up : {&v, &q}) {
    PoisonedRows<float> gated = run(place(ctx, {&q, up}, Fusion::interleaved), EpilogueKind::swi_glu, height);
    const PoisonedRows<float>& ups = alone[up == &v ? 2 : 0];
    double worst = 0;
    for (int r = 0; r < rows; ++r) {
      for (int o = 0; o < height; ++o) {
        const double u = double(alone[0].rows()[r][o]), want = u / (1 + std::exp(-u)) * double(ups.read()[r][o]);
        keep_worst(worst, std::abs(double(gated.rows()[r][o]) - want) / (2e-6 * std::abs(want) + 1e-30));
      }
    }
    CHECK(worst <= 1);
  }
}

TEST_CASE("experts multiply rows in int8 with the bits of linear") {
  std::mt19937 random(26);
  cpu::Context ctx(2, Numbers::int8);
  const int hidden = 160, inner = 96, rows = 23;
  const FileMatrix gate(Format::bf16, inner, hidden, random, 0.1), up(Format::q8_0, inner, hidden, random, 0.1),
      down(Format::bf16, hidden, inner, random, 0.1), other_gate(Format::bf16, inner, hidden, random, 0.1),
      other_up(Format::q8_0, inner, hidden, random, 0.1), other_down(Format::bf16, hidden, inner, random, 0.1);
  const SourceMatrix gate_ups[] = {other_gate.source(), other_up.source(), gate.source(), up.source()},
                     downs[] = {other_down.source(), down.source()};
  const PlacedExperts gate_up = place_experts(ctx, 2, Fusion::interleaved, gate_ups),
                      placed_down = place_experts(ctx, 2, Fusion::stacked, downs);
  std::vector<std::int32_t> experts(std::size_t(rows), 1);
  std::vector<float> weights(std::size_t(rows), 1.0f);
  const PoisonedRows<bf16> x = rows_of<bf16>(rows, hidden, random);
  PoisonedRows<bf16> room(rows, inner), wanted_inner(rows, inner);
  PoisonedRows<float> y(rows, hidden), want(rows, hidden);
  const ExpertMlp mlp{&gate_up, &placed_down, nullptr, nullptr, ExpertActivation::swi_glu, EpilogueKind::store};
  expert_mlp(ctx, mlp, x.read(), Routes{1, experts.data(), weights.data()}, room.rows(), y.rows());
  linear(ctx, x.read(), place(ctx, {&gate, &up}, Fusion::interleaved),
         Epilogue{EpilogueKind::swi_glu, nullptr, nullptr}, wanted_inner.rows());
  linear(ctx, wanted_inner.read(), place(ctx, {&down}), Epilogue{}, want.rows());
  int different = 0;
  for (int r = 0; r < rows; ++r) different += different_bits(y.rows()[r], want.rows()[r], hidden);
  CHECK(different == 0);
}

TEST_CASE("a NaN reaches its whole row of int8 products and no other, and so does an infinity") {
  std::mt19937 random(27);
  cpu::Context ctx(1, Numbers::int8);
  const FileMatrix file(Format::bf16, 40, 300, random);
  PoisonedRows<bf16> x = rows_of<bf16>(9, 300, random);
  x.rows()[3][299] = round_to<bf16>(std::numeric_limits<float>::quiet_NaN());
  x.rows()[7][0] = round_to<bf16>(std::numeric_limits<float>::infinity());
  PoisonedRows<float> y(9, 40);
  linear(ctx, x.read(), place(ctx, {&file}), Epilogue{}, y.rows());
  for (int r = 0; r < 9; ++r) {
    for (int o = 0; o < 40; ++o) REQUIRE(std::isnan(y.rows()[r][o]) == (r == 3 || r == 7));
  }
}

TEST_CASE("the smallest and the largest numbers have int8 products") {
  cpu::Context ctx(1, Numbers::int8);
  const std::vector<float> ones(128, 1.0f);
  const SourceMatrix w = source_matrix(Format::f32, 1, 128, {std::as_bytes(std::span(ones))});
  const PlacedMatrix placed = place_matrix(ctx, {&w, 1}, Fusion::stacked);
  // From 2^-120 on a block has codes; below it counts as zeros.
  for (const float size : {0.0f, 1e-45f, 0x1p-121f, 0x1p-120f, 1.0f, 0x1p100f}) {
    const std::vector<float> x(128, -size);
    float y = 1;
    linear(ctx, Rows<const float>(x.data(), 1, 128), placed, Epilogue{}, Rows<float>(&y, 1, 1));
    CHECK(y == (size < 0x1p-120f ? 0 : doctest::Approx(-128 * size).epsilon(1e-6)));
  }
}

TEST_CASE("floats are placed as int8 once, and a router's never") {
  std::mt19937 random(28);
  cpu::Context exact(1), int8(2, Numbers::int8);
  const FileMatrix file(Format::bf16, 72, 300, random), mxfp4(Format::mxfp4, 16, 64, random),
      q3_k(Format::q3_k, 16, 256, random);
  const PlacedMatrix w = place(int8, {&file});
  CHECK(w.format() == Format::i8_rows);
  CHECK(exact_formats(int8).empty());
  // A file that holds inputs first, as GPT-OSS stores experts.
  std::vector<bf16> transposed;
  for (int k = 0; k < file.in; ++k) {
    for (int o = 0; o < file.out; ++o) transposed.push_back(round_to<bf16>(float(file.at(o, k))));
  }
  const SourceMatrix turned =
      source_matrix(Format::bf16, file.out, file.in, {std::as_bytes(std::span(transposed))}, SourceOrder::transposed);
  const PlacedMatrix same = place_matrix(int8, {&turned, 1}, Fusion::stacked);
  CHECK(std::memcmp(same.memory().data, w.memory().data, w.memory().bytes) == 0);

  const SourceMatrix source = file.source();
  const PlacedMatrix router = place_matrix(int8, {&source, 1}, Fusion::stacked, Rounding::none);
  CHECK(router.format() == Format::bf16);
  const PoisonedRows<bf16> x = rows_of<bf16>(3, file.in, random);
  PoisonedRows<float> y(3, file.out), want(3, file.out);
  linear(int8, x.read(), router, Epilogue{}, y.rows());
  linear(exact, x.read(), place(exact, {&file}), Epilogue{}, want.rows());
  for (int r = 0; r < 3; ++r) CHECK(different_bits(y.rows()[r], want.rows()[r], file.out) == 0);
  CHECK(exact_formats(int8).empty());

  place(int8, {&q3_k});
  place(int8, {&mxfp4});
  CHECK(exact_formats(int8) == "mxfp4, q3_k");
  place(exact, {&mxfp4});
  CHECK(exact_formats(exact).empty());
}

TEST_CASE("parts of int8 codes and of floats make one int8 matrix, the codes as they are") {
  std::mt19937 random(29);
  cpu::Context ctx(1, Numbers::int8);
  const int in = 128;
  std::vector<std::int8_t> codes(16 * in);
  for (std::int8_t& code : codes) code = std::int8_t(random() % 90);
  const std::vector<float> scales(16, 0.25f);
  const FileMatrix floats(Format::bf16, 16, in, random);
  const SourceMatrix parts[] = {
      source_matrix(Format::i8_rows, 16, in, {std::as_bytes(std::span(codes)), std::as_bytes(std::span(scales))}),
      floats.source()};
  const PlacedMatrix both = place_matrix(ctx, parts, Fusion::stacked),
                     first = place_matrix(ctx, {parts, 1}, Fusion::stacked),
                     second = place_matrix(ctx, {parts + 1, 1}, Fusion::stacked);
  CHECK(both.uniform());
  CHECK(std::memcmp(both.memory().data, first.memory().data, std::size_t(first.strips[0].bytes)) == 0);
  CHECK(std::memcmp(both.memory().data + first.strips[0].bytes, second.memory().data,
                    std::size_t(second.strips[0].bytes)) == 0);
}
