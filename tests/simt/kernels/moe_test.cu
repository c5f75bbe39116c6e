#include "ivl/cuda/moe/moe.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <type_traits>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/cuda/runtime/graph.cuh"
#include "tests/simt/support/device_test.hpp"
#include "tests/support/file_experts.hpp"
#include "tests/support/rounding.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// A value that a kernel computes, and how far it may be from this one.
struct Estimate {
  double value = 0, error = 0;
};

double silu(double x) { return x / (1 + std::exp(-x)); }

/// A layer, rows for it and where they go. Expert 0 gets no row, 1 one, 2 all.
template <class Stored, class Scalar>
struct World {
  int rows, hidden, mlp_hidden, active, experts = active + 4;
  ExpertActivation activation;
  bool biased;
  std::mt19937 random;
  FileExperts<Stored> gate_up, down;
  std::vector<float> gate_up_bias, down_bias, weights;
  std::vector<std::int32_t> chosen;
  std::vector<Scalar> x, before;
  int stride;

  World(int rows, int hidden, int mlp_hidden, ExpertActivation activation, bool biased, int active = 3)
      : rows(rows),
        hidden(hidden),
        mlp_hidden(mlp_hidden),
        active(active),
        activation(activation),
        biased(biased),
        random(unsigned(hidden)),
        gate_up(experts, 2 * mlp_hidden, hidden, random, 2),
        down(experts, hidden, mlp_hidden, random, 2),
        stride(hidden + 8) {
    std::normal_distribution<float> normal;
    for (int i = 0; i < experts * 2 * mlp_hidden; ++i) gate_up_bias.push_back(4 * normal(random));  // beyond the limits
    for (int i = 0; i < experts * hidden; ++i) down_bias.push_back(normal(random));
    x.assign(std::size_t(rows * stride), round_to<Scalar>(std::numeric_limits<float>::quiet_NaN()));
    before = x;
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < hidden; ++k) {
        x[std::size_t(r * stride + k)] = round_to<Scalar>(normal(random));
        before[std::size_t(r * stride + k)] = round_to<Scalar>(normal(random));
      }
      const int first = 3 + r % 4, second = r == rows / 2 ? 1 : 3 + (r + 1) % 4;
      for (const int expert : {first, 2, second}) chosen.push_back(expert);
      for (const float weight : {0.5f, 0.3125f, 0.1875f}) weights.push_back(weight);
      for (int expert = 7; expert < experts; ++expert) {
        chosen.push_back(expert);
        weights.push_back(0.25f);
      }
    }
  }

  /// The sum of terms of the sizes given, through `mma`s one after the other (17 terms each, that tensor cores may
  /// truncate by 2^-22 of their sizes, see prim/matrix_test.cu) or, where the product is of floats, fused
  /// multiply-adds in 32 lanes.
  Estimate product(int in, double sum, double size) const {
    const bool mma = std::is_same_v<Scalar, bf16> && !std::is_same_v<Stored, ivl::half>;
    const double error = mma ? 17 * 0x1p-22 * std::ceil(in / 16.0) : float_unit * (in / 32 + 6);
    return {sum, size * (error + 9 * float_unit)};
  }
  Estimate gate_up_of(int row, int expert, int column) const {
    double sum = 0, size = 0;
    for (int k = 0; k < hidden; ++k) {
      const double term = double(to_float(x[std::size_t(row * stride + k)])) * gate_up.at(expert, column, k);
      sum += term;
      size += std::abs(term);
    }
    const double bias = biased ? double(gate_up_bias[std::size_t(expert * 2 * mlp_hidden + column)]) : 0;
    const Estimate u = product(hidden, sum, size);
    return {u.value + bias, u.error + float_unit * (std::abs(u.value + bias) + u.error)};
  }
  /// As `inner` holds it.
  Estimate inner_of(int row, int expert, int j) const {
    Estimate gate = gate_up_of(row, expert, 2 * j), up = gate_up_of(row, expert, 2 * j + 1);
    if (activation == ExpertActivation::clamped_swi_glu) {
      gate.value = std::min(gate.value, 7.0);
      up.value = std::clamp(up.value, -7.0, 7.0) + 1;
    }
    const double g = gate.value;
    const double activated = activation == ExpertActivation::swi_glu ? silu(g) : g / (1 + std::exp(-1.702 * g));
    const double value = activated * up.value;
    // Both activations are at most 1.13 steep; exponential, quotient and products are within 2^-20.
    const double error = 1.13 * gate.error * (std::abs(up.value) + up.error) + std::abs(activated) * up.error +
                         0x1p-20 * std::abs(value);
    return {value, error + rounding_unit<Scalar> * (std::abs(value) + error)};
  }
  /// y of one row.
  std::vector<Estimate> wanted(int row) const {
    std::vector<Estimate> y(static_cast<std::size_t>(hidden));
    for (int i = 0; i < hidden; ++i) y[std::size_t(i)].value = double(to_float(before[std::size_t(row * stride + i)]));
    for (int a = 0; a < active; ++a) {
      const int expert = chosen[std::size_t(row * active + a)];
      const double weight = double(weights[std::size_t(row * active + a)]);
      std::vector<Estimate> inner;
      for (int j = 0; j < mlp_hidden; ++j) inner.push_back(inner_of(row, expert, j));
      for (int i = 0; i < hidden; ++i) {
        double sum = 0, size = 0, error = 0;
        for (int j = 0; j < mlp_hidden; ++j) {
          const auto [value, off] = inner[std::size_t(j)];
          sum += value * down.at(expert, i, j);
          size += (std::abs(value) + off) * std::abs(down.at(expert, i, j));
          error += off * std::abs(down.at(expert, i, j));
        }
        const double bias = biased ? double(down_bias[std::size_t(expert * hidden + i)]) : 0;
        Estimate& total = y[std::size_t(i)];
        total.value += weight * (sum + bias);
        total.error += weight * (error + product(mlp_hidden, sum, size).error) +
                       4 * float_unit * (std::abs(total.value) + weight * (size + std::abs(bias)));
      }
    }
    return y;
  }
};

/// A world's experts on the device.
template <class Stored, class Scalar>
struct PlacedWorld {
  explicit PlacedWorld(const World<Stored, Scalar>& world) : world(world) {}

  const World<Stored, Scalar>& world;
  ivl::cuda::Context ctx{0, 1};
  PlacedExperts gate_up = world.gate_up.place(ctx, Fusion::interleaved), down = world.down.place(ctx, Fusion::stacked);
  bool far = false;  // only expert 4 is there, and beyond what 32 bits count
  std::optional<ivl::cuda::PairOrder> pair_order = {};

  static PlacedExperts far_off(PlacedExperts experts) {
    const std::byte* const fourth = experts.expert(4);
    experts.all.strips[0].bytes = std::int64_t(1) << 30;
    experts.all.strips[0].memory.data = const_cast<std::byte*>(fourth) - 4 * experts.all.strips[0].bytes;
    return experts;
  }

  /// What they make of rows [first, first + rows).
  std::vector<Scalar> run(int first, int rows) {
    const auto part = [&](const auto& values, int width) {
      return std::vector(values.begin() + first * width, values.begin() + (first + rows) * width);
    };
    DeviceArray<Scalar> x(part(world.x, world.stride)), y(part(world.before, world.stride)),
        inner(std::size_t(rows * world.active * world.mlp_hidden));
    DeviceArray<std::int32_t> chosen(part(world.chosen, world.active));
    DeviceArray<float> weights(part(world.weights, world.active)), gate_up_bias(world.gate_up_bias),
        down_bias(world.down_bias);
    const PlacedExperts gate_up_there = far ? far_off(gate_up) : gate_up, down_there = far ? far_off(down) : down;
    const ExpertMlp mlp{&gate_up_there, &down_there, world.biased ? gate_up_bias.data() : nullptr,
                        world.biased ? down_bias.data() : nullptr, world.activation};
    const Rows<const Scalar> x_rows(x.data(), rows, world.hidden, world.stride);
    const Rows<Scalar> inner_rows(inner.data(), rows * world.active, world.mlp_hidden),
        y_rows(y.data(), rows, world.hidden, world.stride);
    const Routes routes{world.active, chosen.data(), weights.data()};
    if constexpr (std::is_same_v<Stored, bf16> && std::is_same_v<Scalar, bf16>) {
      if (pair_order) ivl::cuda::detail::grouped::run(ctx, *pair_order, mlp, x_rows, routes, inner_rows, y_rows);
    }
    if (!pair_order) expert_mlp(ctx, mlp, x_rows, routes, inner_rows, y_rows);
    inner.download();  // nobody wrote beside it
    return y.download();
  }
};

/// The first `rows` rows of a world in every thread order.
template <class Stored, class Scalar>
void compare(const World<Stored, Scalar>& world, ivl::cuda::Order order, int rows) {
  CAPTURE(rows);
  CAPTURE(world.hidden);
  CAPTURE(world.mlp_hidden);
  std::vector<std::vector<Estimate>> wanted;
  for (int r = 0; r < rows; ++r) wanted.push_back(world.wanted(r));
  PlacedWorld<Stored, Scalar> placed(world);
  placed.ctx.order = order;
  for_each_order([&] {
    const std::vector<Scalar> y = placed.run(0, rows);
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < world.stride; ++i) {
        const double found = double(to_float(y[std::size_t(r * world.stride + i)]));
        if (i >= world.hidden) {
          REQUIRE(std::isnan(found));
          continue;
        }
        const auto [value, error] = wanted[std::size_t(r)][std::size_t(i)];
        if (!(std::abs(found - value) <= error + rounding_unit<Scalar> * (std::abs(value) + error)))
          REQUIRE(found == value);
      }
    }
  });
}

template <class Stored, class Scalar>
void compare(int rows, int hidden, int mlp_hidden, ExpertActivation activation, bool biased, int active = 3) {
  compare(World<Stored, Scalar>(rows, hidden, mlp_hidden, activation, biased, active), ivl::cuda::Order::fastest, rows);
}

constexpr auto swi_glu = ExpertActivation::swi_glu, clamped = ExpertActivation::clamped_swi_glu;

/// numbers [512] of blocks of 32, and once more as whole numbers with their scales.
__global__ void dequantise_kernel(const ivl::cuda::detail::mxfp4::Codes* words, const std::uint8_t* scales,
                                  float* numbers, float* products) {
  using namespace ivl::cuda::detail::mxfp4;
  const int k = int(threadIdx.x);
  const Scale scale{scales[k / 32]};
  numbers[k] = number_at(words, k, scale);
  products[k] = float(std::int8_t(number_at(words, k, Scale{128}))) * scale.of_doubled();
}

__global__ void activate_kernel(ExpertActivation activation, const float* gate, const float* up, float* y) {
  y[threadIdx.x] = ivl::cuda::detail::experts::activate(activation, gate[threadIdx.x], up[threadIdx.x]);
}

/// What route must give for one row: by sorting, in double precision.
void check_route(const float* logits, int experts, int active, const std::int32_t* chosen, const float* weights) {
  std::vector<int> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  double total = 0;
  for (int i = 0; i < active; ++i) total += std::exp(double(logits[order[std::size_t(i)]]) - double(logits[order[0]]));
  for (int i = 0; i < active; ++i) {
    const int expert = order[std::size_t(i)];
    REQUIRE(chosen[i] == expert);
    const double want = std::exp(double(logits[expert]) - double(logits[order[0]])) / total;
    // Difference, exponential (2 ulp), the sum's five levels and its terms, quotient.
    REQUIRE(std::abs(double(weights[i]) - want) <= want * (std::abs(double(logits[expert])) + 12) * 2 * float_unit);
  }
}

}  // namespace

TEST_CASE("on CUDA route takes the largest logits, the lower number among equals, and their softmax") {
  ivl::cuda::Context ctx;
  struct Case {
    int rows, experts, active;
  };
  for (const auto [rows, experts, active] : {Case{5, 128, 8}, Case{1, 32, 4}, Case{6, 7, 7}, Case{3, 40, 1}}) {
    CAPTURE(experts);
    std::mt19937 random{unsigned(experts)};
    std::normal_distribution<float> normal;
    const int stride = experts + 1;
    std::vector<float> values(std::size_t(rows * stride), std::numeric_limits<float>::quiet_NaN());
    for (int r = 0; r < rows; ++r) {
      // In odd rows many are equal, and a zero may be negative.
      for (int e = 0; e < experts; ++e) {
        const float value = 2 * normal(random);
        values[std::size_t(r * stride + e)] =
            r % 2 == 0 ? value : std::copysign(std::floor(std::abs(value) / 2), value);
      }
    }
    for_each_order([&] {
      DeviceArray<float> logits(values), weights(std::size_t(rows * active));
      DeviceArray<std::int32_t> chosen(std::size_t(rows * active));
      route(ctx, Rows<const float>(logits.data(), rows, experts, stride),
            Routes{active, chosen.data(), weights.data()});
      const std::vector<std::int32_t> found = chosen.download();
      const std::vector<float> found_weights = weights.download();
      for (int r = 0; r < rows; ++r)
        check_route(&values[std::size_t(r * stride)], experts, active, &found[std::size_t(r * active)],
                    &found_weights[std::size_t(r * active)]);
    });
  }
}

TEST_CASE("on CUDA route gives distinct experts even for logits that are NaN") {
  ivl::cuda::Context ctx;
  DeviceArray<float> logits(40), weights(4);  // NaN
  DeviceArray<std::int32_t> chosen(4);
  route(ctx, Rows<const float>(logits.data(), 1, 40), Routes{4, chosen.data(), weights.data()});
  std::vector<std::int32_t> found = chosen.download();
  std::sort(found.begin(), found.end());
  for (int i = 0; i < 4; ++i) {
    CHECK((found[std::size_t(i)] >= 0 && found[std::size_t(i)] < 40));
    if (i > 0) CHECK(found[std::size_t(i)] != found[std::size_t(i - 1)]);
  }
  CHECK_THROWS_WITH_AS(route(ctx, Rows<const float>(logits.data(), 1, 4), Routes{5, chosen.data(), weights.data()}),
                       "route on CUDA: expected 1 to 4 experts a row, found 5", RequestError);
  CHECK_THROWS_WITH_AS(route(ctx, Rows<const float>(logits.data(), 1, 40), Routes{33, chosen.data(), weights.data()}),
                       "route on CUDA: expected at most 32 experts a row, found 33", RequestError);
}

TEST_CASE("on CUDA every code of MXFP4 becomes its number in every place of a word, under every scale") {
  // Blocks of 32: code 0, 3, 6, ... from the first place on; then from the next code on, ...
  std::vector<std::uint32_t> words;
  for (unsigned block = 0; block < 16; ++block) {
    for (unsigned word = 0; word < 4; ++word) {
      std::uint32_t codes = 0;
      for (unsigned i = 0; i < 8; ++i) codes |= (block + 3 * (8 * word + i)) % 16 << 4 * i;
      words.push_back(codes);
    }
  }
  for (const std::uint8_t scale : {0, 1, 2, 100, 127, 128, 129, 130, 253, 254}) {
    CAPTURE(int(scale));
    std::vector<std::uint8_t> scale_values(16, scale);
    std::vector<float> wanted(512);
    const SourceMatrix file = source_matrix(Format::mxfp4, 16, 32, {bytes_of(words), bytes_of(scale_values)});
    for (int block = 0; block < 16; ++block)
      Mxfp4::dequantise(file.cells<Mxfp4>(block, 0), &wanted[std::size_t(32 * block)]);
    std::vector<std::uint32_t> placed;
    for (const std::uint32_t word : words) placed.push_back(ivl::cuda::detail::mxfp4::word_of(word));
    for_each_order([&] {
      DeviceArray<std::uint32_t> codes(placed);
      DeviceArray<std::uint8_t> scales(scale_values);
      DeviceArray<float> numbers(512), products(512);
      ivl::cuda::launch(dequantise_kernel, {.grid = 1, .block = 512},
                        reinterpret_cast<const ivl::cuda::detail::mxfp4::Codes*>(codes.data()), scales.data(),
                        numbers.data(), products.data());
      const std::vector<float> found = numbers.download(), found_products = products.download();
      // A bf16 holds them all, but for what is too large for a float, too.
      for (std::size_t i = 0; i < found.size(); ++i) {
        REQUIRE(found[i] == wanted[i]);
        REQUIRE(found_products[i] == wanted[i]);
      }
    });
  }
}

TEST_CASE("on CUDA the activations of experts agree with double precision, far out too, and keep NaN") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> gates, ups;
  for (const float gate : {-60.0f, -9.0f, -7.5f, -1.0f, -0.0f, 0.25f, 6.5f, 7.0f, 8.0f, 50.0f, nan}) {
    for (const float up : {-30.0f, -7.25f, -1.0f, 0.0f, 3.0f, 7.5f, nan}) {
      gates.push_back(gate);
      ups.push_back(up);
    }
  }
  for (const auto activation : {swi_glu, clamped}) {
    for_each_order([&] {
      DeviceArray<float> gate(gates), up(ups), y(gates.size());
      ivl::cuda::launch(activate_kernel, {.grid = 1, .block = unsigned(gates.size())}, activation, gate.data(),
                        up.data(), y.data());
      const std::vector<float> result = y.download();
      for (std::size_t i = 0; i < result.size(); ++i) {
        const double found = double(result[i]);
        if (std::isnan(gates[i]) || std::isnan(ups[i])) {
          REQUIRE(std::isnan(found));
          continue;
        }
        double g = double(gates[i]), u = double(ups[i]), steepness = 1;
        if (activation == clamped) {
          g = std::min(g, 7.0);
          u = std::clamp(u, -7.0, 7.0) + 1;
          steepness = 1.702;
        }
        const double want = g / (1 + std::exp(-steepness * g)) * u;
        // Rounding the exponent moves the power by its size; the rest is a few roundings. At -60 the power is infinite.
        const double error = std::abs(want) * (0x1p-20 + 2 * float_unit * std::abs(steepness * g)) + 1e-20;
        CAPTURE(gates[i]);
        CAPTURE(ups[i]);
        REQUIRE(std::abs(found - want) <= error);
      }
    });
  }
}

// Rows: one, some, as many as `few` takes. Depths: less than a turn of the warps, and more.

TEST_CASE("on CUDA expert_mlp in bf16 agrees with double precision for few rows") {
  compare<bf16, bf16>(1, 304, 16, swi_glu, false);
  compare<bf16, bf16>(5, 16, 272, clamped, true);
  compare<bf16, bf16>(16, 48, 16, swi_glu, true);
  compare<bf16, bf16>(2, 16, 48, swi_glu, true, 10);  // more experts than warps
}

TEST_CASE("on CUDA expert_mlp in MXFP4 agrees with double precision for few rows") {
  compare<Mxfp4, bf16>(1, 1056, 32, clamped, true);
  compare<Mxfp4, bf16>(3, 32, 160, swi_glu, false);
  compare<Mxfp4, bf16>(16, 64, 32, clamped, true);
}

// An expert with no row, one, all rows; jobs and tiles of columns that are full and that are not; half a stage of
// depth.

TEST_CASE("on CUDA expert_mlp in bf16 agrees with double precision for many rows") {
  compare<bf16, bf16>(135, 80, 80, swi_glu, true);
}

TEST_CASE("on CUDA expert_mlp in MXFP4 agrees with double precision for many rows") {
  compare<Mxfp4, bf16>(70, 160, 96, clamped, true);
}

TEST_CASE("on CUDA more pairs than a block has threads are ordered by one block and by the whole device alike") {
  const World<bf16, bf16> world(420, 16, 16, swi_glu, true);  // 1260 pairs
  PlacedWorld<bf16, bf16> placed(world);
  std::vector<std::vector<Estimate>> wanted;
  for (int r = 0; r < world.rows; ++r) wanted.push_back(world.wanted(r));
  std::vector<bf16> first;
  for (const auto order : {ivl::cuda::PairOrder::by_block, ivl::cuda::PairOrder::by_device}) {
    placed.pair_order = order;
    const std::vector<bf16> y = placed.run(0, world.rows);
    if (first.empty()) first = y;
    REQUIRE(std::memcmp(y.data(), first.data(), y.size() * sizeof(bf16)) == 0);
    for (int r = 0; r < world.rows; ++r) {
      for (int i = 0; i < world.hidden; ++i) {
        const auto [value, error] = wanted[std::size_t(r)][std::size_t(i)];
        const double found = double(to_float(y[std::size_t(r * world.stride + i)]));
        if (!(std::abs(found - value) <= error + rounding_unit<bf16> * (std::abs(value) + error)))
          REQUIRE(found == value);
      }
    }
  }
}

TEST_CASE("on CUDA pairs that the whole device orders in a captured graph are those of each launch") {
  ivl::cuda::Context ctx;
  constexpr int count = 300;
  const auto keys_of = [](int launch) {
    std::vector<std::int32_t> keys;
    for (int i = 0; i < count; ++i) keys.push_back((i * (5 + launch) + launch) % 17);
    return keys;
  };
  const std::size_t room_bytes = ivl::cuda::sort_indices_bytes(count, 5);
  const Memory memory = allocate(ctx, 3 * count * sizeof(std::int32_t)), room = allocate(ctx, room_bytes);
  auto* const keys = reinterpret_cast<std::int32_t*>(memory.data);
  ivl::cuda::Context::Recordings recordings;
  for (int launch = 0; launch < 4; ++launch) {
    const std::vector<std::int32_t> wanted_keys = keys_of(launch);
    upload(ctx, keys, wanted_keys.data(), count * sizeof(std::int32_t));
    replay(ctx, recordings, 1,
           [&] { ivl::cuda::sort_indices(ctx, keys, count, 5, room.data, keys + count, keys + 2 * count); });
    std::vector<std::int32_t> found(2 * count), wanted(count);
    download(ctx, found.data(), keys + count, found.size() * sizeof(std::int32_t));
    std::iota(wanted.begin(), wanted.end(), 0);
    std::stable_sort(wanted.begin(), wanted.end(),
                     [&](int a, int b) { return wanted_keys[std::size_t(a)] < wanted_keys[std::size_t(b)]; });
    CHECK(std::equal(wanted.begin(), wanted.end(), found.begin() + count));
    for (int i = 0; i < count; ++i) REQUIRE(found[std::size_t(i)] == wanted_keys[std::size_t(wanted[std::size_t(i)])]);
  }
}

TEST_CASE("on CUDA scales of MXFP4 that need a second product are right beside those that need none") {
  // Of the down matrix: in every fourth row every other block, so that lanes of one warp differ.
  World<Mxfp4, bf16> world(20, 64, 288, swi_glu, true);
  for (std::size_t block = 0; block < world.down.scales.size(); ++block) {
    const std::size_t row = block / 9;
    const int scale = row % 4 == 1 && block % 2 == 0 ? 129 + int(block % 3) : 118;
    for (std::size_t i = 32 * block; i < 32 * block + 32; ++i)
      world.down.numbers[i] = std::ldexp(world.down.numbers[i], scale - world.down.scales[block]);
    world.down.scales[block] = std::uint8_t(scale);
  }
  compare(world, ivl::cuda::Order::fastest, 5);
  compare(world, ivl::cuda::Order::invariant, world.rows);
}

TEST_CASE("on CUDA y is rounded once, after the sum over its experts") {
  // A bf16 of 256 takes no single one more: rounded after each, three of them would be lost.
  World<bf16, bf16> world(20, 16, 16, swi_glu, true);
  for (float& bias : world.gate_up_bias) bias = 0;
  for (float& bias : world.down_bias) bias = 1;
  for (float& weight : world.weights) weight = 1;
  for (bf16& value : world.x) value = round_to<bf16>(0);
  for (bf16& value : world.before) value = round_to<bf16>(256);
  PlacedWorld<bf16, bf16> placed(world);
  for (const ivl::cuda::Order order : {ivl::cuda::Order::fastest, ivl::cuda::Order::invariant}) {
    placed.ctx.order = order;
    for (const bf16 value : placed.run(0, 5)) REQUIRE((to_float(value) == 260 || to_float(value) == 256));
    REQUIRE(to_float(placed.run(0, 5)[3]) == 260);
    REQUIRE(to_float(placed.run(0, 20)[3]) == 260);
  }
}

TEST_CASE("on CUDA experts may lie further apart than 32 bits count") {
  World<Mxfp4, bf16> coded(20, 64, 32, clamped, true);
  World<bf16, bf16> numbers(20, 32, 32, swi_glu, true);
  const auto check = [](auto& world) {
    std::fill(world.chosen.begin(), world.chosen.end(), 4);
    PlacedWorld placed(world);
    for (const ivl::cuda::Order order : {ivl::cuda::Order::fastest, ivl::cuda::Order::invariant}) {
      placed.ctx.order = order;
      placed.far = false;
      const std::vector<bf16> near_y = placed.run(0, 5);
      placed.far = true;
      const std::vector<bf16> far_y = placed.run(0, 5);
      REQUIRE(std::memcmp(near_y.data(), far_y.data(), near_y.size() * sizeof(bf16)) == 0);
    }
  };
  check(coded);
  check(numbers);
}

TEST_CASE("on CUDA expert_mlp with floats agrees with double precision") {
  compare<float, float>(3, 24, 40, swi_glu, false);
  compare<bf16, float>(2, 16, 36, clamped, true);
  compare<Mxfp4, float>(2, 64, 32, clamped, true);
  compare<ivl::half, bf16>(2, 16, 40, clamped, false);
}

TEST_CASE("on CUDA the bits of a row of expert_mlp depend neither on the rows beside it nor on its place") {
  const auto check = [](auto placed, ivl::cuda::Order order, std::initializer_list<std::pair<int, int>> parts) {
    placed->ctx.order = order;
    for_each_order([&] {
      const int rows = placed->world.rows, stride = placed->world.stride;
      const std::vector<bf16> together = placed->run(0, rows);
      for (const auto& [first, number] : parts) {
        const std::vector<bf16> some = placed->run(first, number);
        REQUIRE(std::memcmp(some.data(), &together[std::size_t(first * stride)], some.size() * sizeof(bf16)) == 0);
      }
    });
  };
  const World<bf16, bf16> few(16, 272, 16, swi_glu, true), many(70, 48, 48, swi_glu, true);
  const World<Mxfp4, bf16> few_coded(16, 64, 32, clamped, true);
  using Placed = PlacedWorld<bf16, bf16>;
  check(std::make_unique<Placed>(few), ivl::cuda::Order::fastest, {{0, 1}, {8, 1}, {3, 9}});
  check(std::make_unique<PlacedWorld<Mxfp4, bf16>>(few_coded), ivl::cuda::Order::fastest, {{8, 1}, {3, 9}});
  check(std::make_unique<Placed>(many), ivl::cuda::Order::invariant, {{0, 1}, {35, 1}, {3, 20}});
}

TEST_CASE_TEMPLATE("on CUDA a row of expert_mlp has the same bits among 1 to 40 rows", Stored, bf16, Mxfp4) {
  const World<Stored, bf16> world(40, 288, 160, clamped, true);
  PlacedWorld<Stored, bf16> placed(world);
  const std::vector<bf16> all = placed.run(0, world.rows);
  // One, and around the tiles of every size; the slower of the builds leaves most of them to the other.
  std::vector<int> numbers{1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 39};
#if !defined(__CUDACC__)
  if (simt::checks_addresses()) numbers = {1, 17, 33};
#endif
  for (const int rows : numbers) {
    CAPTURE(rows);
    const std::vector<bf16> some = placed.run(0, rows);
    REQUIRE(std::memcmp(some.data(), all.data(), some.size() * sizeof(bf16)) == 0);
  }
}

TEST_CASE("on CUDA place_experts puts every layout of a file into rows of outputs") {
  ivl::cuda::Context ctx(0, 2);
  std::mt19937 random{3};
  const FileExperts<bf16> file(3, 70, 48, random);
  const auto check = [&](const PlacedExperts& placed, int halves) {
    REQUIRE(placed.experts == 3);
    REQUIRE(placed.all.out == 70);
    REQUIRE(placed.all.in == 48);
    REQUIRE(placed.all.strips[0].bytes % 256 == 0);
    std::vector<bf16> found(70 * 48);
    for (int e = 0; e < 3; ++e) {
      download(ctx, found.data(), placed.expert(e), found.size() * sizeof(bf16));
      for (int row = 0; row < 70; ++row) {
        // Where the parts were gate and up apart, row 2j + i is row j of part i.
        const int of_file = halves == 2 ? row / 2 + row % 2 * 35 : row;
        for (int k = 0; k < 48; ++k)
          REQUIRE(double(to_float(found[std::size_t(row * 48 + k)])) == file.at(e, of_file, k));
      }
    }
  };
  check(file.place(ctx, Fusion::interleaved), 1);

  std::vector<bf16> rows;  // [experts, out, in]
  for (const double number : file.numbers) rows.push_back(round_to<bf16>(float(number)));
  const auto part = [&](int expert, int first, int number) {
    const auto all = bytes_of(rows);
    return source_matrix(Format::bf16, number, 48,
                         {all.subspan(std::size_t((expert * 70 + first) * 96), std::size_t(number * 96))});
  };
  std::vector<SourceMatrix> whole, halves;
  for (int e = 0; e < 3; ++e) {
    whole.push_back(part(e, 0, 70));
    halves.push_back(part(e, 0, 35));
    halves.push_back(part(e, 35, 35));
  }
  check(place_experts(ctx, 3, Fusion::stacked, whole), 1);
  check(place_experts(ctx, 3, Fusion::interleaved, halves), 2);

  whole[1].format = Format::f16;
  CHECK_THROWS_WITH_AS(place_experts(ctx, 3, Fusion::stacked, whole),
                       "the experts of one layer differ in format: expected bf16, found f16", FileError);
  FileExperts<Mxfp4> codes(2, 6, 64, random);
  codes.scales[5] = 255;
  CHECK_THROWS_WITH_AS(codes.place(ctx, Fusion::stacked), "a scale of MXFP4 is 255, which is not a number", FileError);
}
