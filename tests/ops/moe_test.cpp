#include "ivl/cpu/moe.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/cpu/epilogue.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "tests/support/file_experts.hpp"
#include "tests/support/poisoned_rows.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// One layer, and rows that go to its experts.
template <class Stored, class Scalar>
struct World {
  int experts, active, hidden, mlp_hidden;
  ExpertActivation activation;
  std::mt19937 random;
  FileExperts<Stored> gate_up, down;
  std::vector<float> gate_up_bias, down_bias;
  std::vector<std::int32_t> chosen;
  std::vector<float> weights;
  PoisonedRows<Scalar> x, before;

  World(int rows, int experts, int active, int hidden, int mlp_hidden, ExpertActivation activation, bool bias)
      : experts(experts),
        active(active),
        hidden(hidden),
        mlp_hidden(mlp_hidden),
        activation(activation),
        random(unsigned(rows + hidden)),
        gate_up(experts, 2 * mlp_hidden, hidden, random),
        down(experts, hidden, mlp_hidden, random),
        x(rows, hidden),
        before(rows, hidden) {
    std::normal_distribution<float> normal;
    if (bias) {
      for (int i = 0; i < experts * 2 * mlp_hidden; ++i)
        gate_up_bias.push_back(3 * normal(random));  // beyond the clamp
      for (int i = 0; i < experts * hidden; ++i) down_bias.push_back(normal(random));
    }
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < hidden; ++k) {
        x.rows()[r][k] = round_to<Scalar>(2 * normal(random));
        before.rows()[r][k] = round_to<Scalar>(normal(random));
      }
    }
    // Expert 0 gets no row, expert 1 one, expert 2 all; the rest as it comes.
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < active; ++i) {
        int expert = i == 0 ? 2 : 3 + (r * (active - 1) + i - 1) % (experts - 3);
        if (r == rows / 2 && i == active - 1 && i > 0) expert = 1;
        chosen.push_back(expert);
        weights.push_back(std::ldexp(0.75f, -i));
      }
    }
  }

  ExpertMlp mlp(const PlacedExperts& placed_gate_up, const PlacedExperts& placed_down) const {
    return {&placed_gate_up, &placed_down, gate_up_bias.empty() ? nullptr : gate_up_bias.data(),
            down_bias.empty() ? nullptr : down_bias.data(), activation};
  }

  /// y of rows [first, first + number).
  PoisonedRows<Scalar> run(cpu::Context& ctx, const ExpertMlp& experts_mlp, int first, int number) {
    PoisonedRows<Scalar> y(number, hidden), inner(number * active, mlp_hidden);
    for (int r = 0; r < number; ++r) std::copy_n(before.read()[first + r], hidden, y.rows()[r]);
    const Routes routes{active, chosen.data() + first * active, weights.data() + first * active};
    expert_mlp(ctx, experts_mlp, x.read().slice(first, number), routes, inner.rows(), y.rows());
    REQUIRE(y.only_rows_written());
    REQUIRE(inner.only_rows_written());
    return y;
  }

  /// Largest |y - reference| / bound.
  double worst(const PoisonedRows<Scalar>& y) const {
    // A number, and how far off ours may be.
    struct Number {
      double value, error;
    };
    // Each term of a sum rounds a product and a sum, as does each block of MXFP4.
    const auto rounds = [](int terms) { return (terms + terms / 32 + 2) * float_unit; };
    double worst = 0;
    for (int r = 0; r < int(y.count); ++r) {
      std::vector<Number> sums(std::size_t(hidden), Number{0, 0});
      std::vector<double> sizes(std::size_t(hidden), 0);
      for (int i = 0; i < active; ++i) {
        const int e = chosen[std::size_t(r * active + i)];
        std::vector<Number> inner;
        for (int j = 0; j < mlp_hidden; ++j) {
          const auto output = [&](int o) {
            double sum = 0, size = 0;
            for (int k = 0; k < hidden; ++k) {
              const double term = double(to_float(x.read()[r][k])) * gate_up.at(e, o, k);
              sum += term;
              size += std::abs(term);
            }
            if (!gate_up_bias.empty()) sum += gate_up_bias[std::size_t(e * 2 * mlp_hidden + o)];
            return Number{sum, rounds(hidden) * size + float_unit * std::abs(sum)};
          };
          Number gate = output(2 * j), up = output(2 * j + 1);
          double slope = 1;
          if (activation == ExpertActivation::clamped_swi_glu) {
            gate.value = std::min(gate.value, 7.0);
            up.value = std::clamp(up.value, -7.0, 7.0) + 1;
            up.error += float_unit * std::abs(up.value);
            slope = 1.702;
          }
          const double glu = gate.value / (1 + std::exp(-slope * gate.value));
          // |glu'| <= 1.1 for every slope. 1e-6: SiLU's own, tested with `linear`. The factor 1.702 and its product
          // round the exponent. The last product rounds once.
          const double relative = 1e-6 + 2 * float_unit * slope * std::abs(gate.value) + float_unit;
          const double error = 1.1 * gate.error * (std::abs(up.value) + up.error) + std::abs(glu) * up.error +
                               relative * std::abs(glu * up.value);
          const double value = glu * up.value;
          inner.push_back({value, error + rounding_unit<Scalar> * (std::abs(value) + error)});
        }
        for (int o = 0; o < hidden; ++o) {
          double sum = 0, size = 0, error = 0;
          for (int k = 0; k < mlp_hidden; ++k) {
            const double w = down.at(e, o, k);
            sum += inner[std::size_t(k)].value * w;
            error += inner[std::size_t(k)].error * std::abs(w);
            size += (std::abs(inner[std::size_t(k)].value) + inner[std::size_t(k)].error) * std::abs(w);
          }
          if (!down_bias.empty()) sum += down_bias[std::size_t(e * hidden + o)];
          error += rounds(mlp_hidden) * size + float_unit * std::abs(sum);
          const double weight = double(weights[std::size_t(r * active + i)]);
          sums[std::size_t(o)].value += weight * sum;
          sums[std::size_t(o)].error += weight * error;
          sizes[std::size_t(o)] += weight * (std::abs(sum) + error);
        }
      }
      for (int o = 0; o < hidden; ++o) {
        const Number sum = sums[std::size_t(o)];
        const double want = double(to_float(before.read()[r][o])) + sum.value;
        const double error = sum.error + (2 * active + 1) * float_unit * sizes[std::size_t(o)];
        const double allowed = 1.01 * (error + (rounding_unit<Scalar> + float_unit) * (std::abs(want) + error)) + 1e-37;
        const double off = std::abs(double(to_float(y.read()[r][o])) - want);
        keep_worst(worst, off / allowed);
      }
    }
    return worst;
  }
};

template <class Stored, class Activation>
struct Combination {
  using Weight = Stored;
  using X = Activation;
};
#define COMBINATIONS \
  Combination<bf16, bf16>, Combination<Mxfp4, bf16>, Combination<Mxfp4, float>, Combination<float, float>

}  // namespace

TYPE_TO_STRING(Combination<bf16, bf16>);
TYPE_TO_STRING(Combination<half, bf16>);
TYPE_TO_STRING(Combination<Mxfp4, bf16>);
TYPE_TO_STRING(Combination<Mxfp4, float>);
TYPE_TO_STRING(Combination<float, float>);

TEST_CASE_TEMPLATE("experts agree with the double-precision formula, with no row, one row and all rows", Types,
                   COMBINATIONS) {
  using Stored = typename Types::Weight;
  cpu::Context ctx(2);
  for (const auto& [activation, bias] :
       {std::pair(ExpertActivation::swi_glu, false), std::pair(ExpertActivation::clamped_swi_glu, true)}) {
    for (const int rows : {1, 2, 9, 45}) {
      World<Stored, typename Types::X> world(rows, 6, 3, 160, 96, activation, bias);
      const PlacedExperts gate_up = world.gate_up.place(ctx, Fusion::interleaved);
      const PlacedExperts down = world.down.place(ctx, Fusion::stacked);
      CAPTURE(bias);
      CAPTURE(rows);
      CHECK(world.worst(world.run(ctx, world.mlp(gate_up, down), 0, rows)) <= 1);
    }
  }
}

TEST_CASE_TEMPLATE("widths that fill no panel, and one expert alone, agree with the formula", Types,
                   Combination<bf16, bf16>, Combination<half, bf16>) {
  cpu::Context ctx(2);
  for (const int rows : {1, 20}) {
    World<typename Types::Weight, typename Types::X> world(rows, 4, 1, 75, 41, ExpertActivation::clamped_swi_glu, true);
    const PlacedExperts gate_up = world.gate_up.place(ctx, Fusion::interleaved);
    const PlacedExperts down = world.down.place(ctx, Fusion::stacked);
    CAPTURE(rows);
    CHECK(world.worst(world.run(ctx, world.mlp(gate_up, down), 0, rows)) <= 1);
  }
}

TEST_CASE_TEMPLATE("experts take every format, and gate, up and down may differ in it", Stored,
                   Formats<Format::q8_0, Format::q8_0>, Formats<Format::awq, Format::awq>,
                   Formats<Format::q8_0, Format::mxfp4>, Formats<Format::awq, Format::bf16>,
                   Formats<Format::mxfp4, Format::f32>) {
  cpu::Context ctx(2);
  for (const int rows : {1, 30}) {
    World<Stored, bf16> world(rows, 5, 2, 256, 128, ExpertActivation::clamped_swi_glu, true);
    const PlacedExperts gate_up = world.gate_up.place(ctx, Fusion::interleaved);
    const PlacedExperts down = world.down.place(ctx, Fusion::stacked);
    CAPTURE(formats_of(gate_up.all));
    CAPTURE(rows);
    const ExpertMlp mlp = world.mlp(gate_up, down);
    const PoisonedRows<bf16> all = world.run(ctx, mlp, 0, rows);
    CHECK(world.worst(all) <= 1);
    const PoisonedRows<bf16> last = world.run(ctx, mlp, rows - 1, 1);
    CHECK(std::memcmp(last.read()[0], all.read()[rows - 1], 256 * sizeof(bf16)) == 0);
  }
}

TEST_CASE_TEMPLATE("a row's bits depend neither on the rows beside it nor on the number of threads", Types,
                   COMBINATIONS) {
  using Scalar = typename Types::X;
  cpu::Context one(1), three(3);
  // Expert 2 gets more rows than one task takes.
  const int rows = 200, hidden = 96;
  World<typename Types::Weight, Scalar> world(rows, 12, 2, hidden, 64, ExpertActivation::swi_glu, false);
  const PlacedExperts gate_up = world.gate_up.place(one, Fusion::interleaved);
  const PlacedExperts down = world.down.place(three, Fusion::stacked);
  const ExpertMlp mlp = world.mlp(gate_up, down);
  const PoisonedRows<Scalar> all = world.run(one, mlp, 0, rows);
  const auto check = [&](cpu::Context& ctx, int first, int number) {
    const PoisonedRows<Scalar> some = world.run(ctx, mlp, first, number);
    int different = 0;
    for (int r = 0; r < number; ++r)
      different += std::memcmp(some.read()[r], all.read()[first + r], hidden * sizeof(Scalar)) != 0;
    CAPTURE(first);
    CAPTURE(number);
    CHECK(different == 0);
  };
  check(three, 0, rows);
  for (int number = 1; number <= 26; ++number) check(number % 2 == 0 ? one : three, 7 + 3 * number, number);
}

TEST_CASE("an expert's gate of the lowest numbers, minus infinity too, lets nothing through") {
  using cpu::Lanes;
  for (const float gate : {-100.0f, -1e30f, -3e38f, -std::numeric_limits<float>::infinity()}) {
    CAPTURE(gate);
    float y[cpu::lanes];
    cpu::detail::activate(ExpertActivation::swi_glu, Lanes::of(gate), Lanes::of(1)).store(y);
    CHECK(std::abs(y[0]) < 1e-36f);
    cpu::detail::activate(ExpertActivation::clamped_swi_glu, Lanes::of(gate), Lanes::of(0)).store(y);
    CHECK(std::abs(y[0]) < 1e-36f);
  }
}

TEST_CASE("experts that no row chose are not read") {
  cpu::Context ctx(2);
  World<float, float> world(5, 6, 2, 64, 32, ExpertActivation::swi_glu, false);
  // NaN in expert 0, which no row chose.
  std::fill_n(world.gate_up.fused.begin(), 64 * 64, std::numeric_limits<float>::quiet_NaN());
  std::fill_n(world.down.fused.begin(), 64 * 32, std::numeric_limits<float>::quiet_NaN());
  const PlacedExperts gate_up = world.gate_up.place(ctx, Fusion::interleaved);
  const PlacedExperts down = world.down.place(ctx, Fusion::stacked);
  CHECK(world.worst(world.run(ctx, world.mlp(gate_up, down), 0, 5)) <= 1);
  world.chosen[3] = 0;
  const PoisonedRows<float> y = world.run(ctx, world.mlp(gate_up, down), 0, 5);
  CHECK(std::isnan(y.read()[1][0]));
  CHECK(!std::isnan(y.read()[0][0]));
}

TEST_CASE_TEMPLATE("one tensor for all experts and one for each matrix make the same panels", Stored, bf16, half,
                   float) {
  cpu::Context ctx(2);
  std::mt19937 random(1);
  for (const auto& [out, in] : {std::pair(70, 33), std::pair(64, 130)}) {
    const FileExperts<Stored> file(3, out, in, random);
    for (const Fusion fusion : {Fusion::stacked, Fusion::interleaved}) {
      const PlacedExperts fused = file.place(ctx, fusion), separate = file.place_separate(ctx, fusion);
      CHECK(fused.all.format() == format_of(kind_of<Stored>));
      CHECK(fused.all.out == out);
      CHECK(fused.all.in == in);
      CHECK(fused.all.fusion == fusion);
      const std::int64_t bytes = fused.all.strips[0].bytes;
      REQUIRE(bytes == separate.all.strips[0].bytes);
      CHECK(std::memcmp(fused.expert(0), separate.expert(0), std::size_t(3 * bytes)) == 0);
    }
  }
}

TEST_CASE_TEMPLATE("every code with every scale is multiplied exactly, few rows and many", Scalar, float, bf16) {
  cpu::Context ctx(1);
  // Row o holds the scales 16 o ... 16 o + 15 in its blocks, and every code twice in each.
  const int out = 16, blocks = 16, in = blocks * 32;
  std::vector<std::uint8_t> codes, scales;
  for (int o = 0; o < out; ++o) {
    for (int b = 0; b < blocks; ++b) {
      scales.push_back(std::uint8_t(std::min(254, 16 * o + b)));
      for (int j = 0; j < 16; ++j) codes.push_back(std::uint8_t((j + o) % 16 | (15 - j) << 4));
    }
  }
  const SourceMatrix source = source_matrix(Format::mxfp4, out, in, {bytes_of(codes), bytes_of(scales)});
  const PlacedMatrix placed = place_matrix(ctx, {&source, 1}, Fusion::stacked);
  // A row with a single 1 picks one column of weights.
  using Factor = cpu::Factor<Mxfp4, Scalar>;
  std::vector<Factor> x(std::size_t(in) * std::size_t(in), round_to<Factor>(0));
  std::vector<const Factor*> rows;
  for (int k = 0; k < in; ++k) {
    x[std::size_t(k * in + k)] = round_to<Factor>(1);
    rows.push_back(x.data() + k * in);
  }
  for (const int together : {1, 64}) {
    int wrong = 0;
    for (int first = 0; first < in; first += together) {
      alignas(line_bytes) float sums[64 * cpu::detail::group_columns];
      cpu::detail::multiply_group<Scalar>(Format::mxfp4, rows.data() + first, together, in, placed.memory().data,
                                          placed.strips[0].bytes, 1, nullptr, sums);
      for (int r = 0; r < together; ++r) {
        const int k = first + r;
        for (int o = 0; o < out; ++o) {
          const int code = k % 2 == 0 ? (k % 32 / 2 + o) % 16 : 15 - k % 32 / 2;
          const double exact = double(e2m1_values[code]) * std::ldexp(1.0, std::min(254, 16 * o + k / 32) - 127);
          wrong += !(sums[r * cpu::detail::group_columns + o] == float(exact));  // infinite from 2^128 on
        }
      }
    }
    CAPTURE(together);
    CHECK(wrong == 0);
  }
}

TEST_CASE("experts that differ in format, or have a scale that is not a number, are refused") {
  cpu::Context ctx(1);
  const std::vector<std::uint8_t> bytes(4096, 120), bad_scales(32, 255);
  const auto first = [&](std::size_t number) { return bytes_of(bytes).first(number); };
  const SourceMatrix good = source_matrix(Format::mxfp4, 32, 32, {first(512), first(32)});
  const SourceMatrix bad = source_matrix(Format::mxfp4, 32, 32, {first(512), bytes_of(bad_scales)});
  CHECK_NOTHROW(place_experts(ctx, 1, Fusion::stacked, {&good, 1}));
  const SourceMatrix later[] = {good, bad};
  CHECK_THROWS_WITH_AS(place_experts(ctx, 2, Fusion::stacked, later), "a scale of MXFP4 is 255, which is not a number",
                       FileError);
  CHECK_THROWS_AS(place_matrix(ctx, {&bad, 1}, Fusion::stacked), FileError);
  CHECK_THROWS_AS(place_table(ctx, bad), FileError);
  const SourceMatrix mixed[] = {source_matrix(Format::f16, 4, 4, {first(32)}),
                                source_matrix(Format::f32, 4, 4, {first(64)})};
  CHECK_THROWS_WITH_AS(place_experts(ctx, 2, Fusion::stacked, mixed),
                       "the experts of one layer differ in format: expected f16, found f32", FileError);
}

TEST_CASE("a row goes to the experts with its largest logits, the lower number first where they are equal") {
  cpu::Context ctx(2);
  const float logits[] = {1, 3, 3, 2, 3, -1, /**/ 0, 0, 0, 0, 0, 0, /**/ -5, -4, -3, -2, -1, 0};
  std::int32_t experts[9];
  float weights[9];
  route(ctx, Rows<const float>(logits, 3, 6), Routes{3, experts, weights});
  const int expected[] = {1, 2, 4, 0, 1, 2, 5, 4, 3};
  for (int i = 0; i < 9; ++i) CHECK(experts[i] == expected[i]);
  for (int i = 0; i < 6; ++i) CHECK(weights[i] == 1 / 3.0f);
}

TEST_CASE("weights are the softmax of the chosen logits, which is that of all logits made to sum to one") {
  cpu::Context ctx(2);
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 4);
  const int rows = 37, experts = 128, gap = 3;
  for (const int active : {1, 4, 8, experts}) {
    std::vector<float> logits(std::size_t(rows * (experts + gap)), std::numeric_limits<float>::quiet_NaN());
    for (int r = 0; r < rows; ++r)
      for (int e = 0; e < experts; ++e) logits[std::size_t(r * (experts + gap) + e)] = normal(random);
    std::vector<std::int32_t> chosen(std::size_t(rows * active + 8), -7);
    std::vector<float> weights(chosen.size(), -7);
    route(ctx, Rows<const float>(logits.data(), rows, experts, experts + gap),
          Routes{active, chosen.data(), weights.data()});
    for (int r = 0; r < rows; ++r) {
      const float* row = logits.data() + r * (experts + gap);
      std::vector<int> order(experts);
      for (int e = 0; e < experts; ++e) order[std::size_t(e)] = e;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
      double of_all = 0, of_chosen = 0;
      for (int e = 0; e < experts; ++e) of_all += std::exp(double(row[e]));
      for (int i = 0; i < active; ++i) of_chosen += std::exp(double(row[order[std::size_t(i)]])) / of_all;
      for (int i = 0; i < active; ++i) {
        REQUIRE(chosen[std::size_t(r * active + i)] == order[std::size_t(i)]);
        const double want = std::exp(double(row[order[std::size_t(i)]])) / of_all / of_chosen;
        // The difference of two logits below 32 rounds, e^x is good to a unit or so, the sum rounds once an expert.
        const double relative = 32 * float_unit + (active + 4) * float_unit;
        const double error = std::abs(double(weights[std::size_t(r * active + i)]) - want);
        if (!(error <= relative * want + 1e-37)) CHECK(double(weights[std::size_t(r * active + i)]) == want);
      }
    }
    for (std::size_t i = std::size_t(rows * active); i < chosen.size(); ++i) {
      CHECK(chosen[i] == -7);
      CHECK(weights[i] == -7);
    }
  }
}

TEST_CASE("logits that are not numbers still choose different experts that exist") {
  cpu::Context ctx(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float logits[] = {nan, 1, nan, 2, 3, /**/ 1, 2, nan, 3, 0, /**/ nan, nan, nan, nan, nan};
  std::int32_t experts[9];
  float weights[9];
  route(ctx, Rows<const float>(logits, 3, 5), Routes{3, experts, weights});
  for (int r = 0; r < 3; ++r) {
    const std::int32_t* row = experts + 3 * r;
    for (int i = 0; i < 3; ++i) CHECK((row[i] >= 0 && row[i] < 5));
    CHECK((row[0] != row[1] && row[0] != row[2] && row[1] != row[2]));
  }
}
