// Conformance of products of bf16 pairs: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/bf16_pairs.cuh"

#include <cmath>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/runtime/launch.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

__global__ void multiply_kernel(const std::uint32_t* a, const std::uint32_t* b, std::uint32_t* products) {
  products[threadIdx.x] = cuda::prim::multiply_bf16_pairs(a[threadIdx.x], b[threadIdx.x]);
}

__global__ void add_kernel(const std::uint32_t* a, const std::uint32_t* b, std::uint32_t* sums) {
  sums[threadIdx.x] = cuda::prim::add_bf16_pairs(a[threadIdx.x], b[threadIdx.x]);
}

}  // namespace

TEST_CASE("add_bf16_pairs adds halves apart, and of whole numbers exactly") {
  const auto pair = [](float low, float high) {
    return std::uint32_t(round_to<bf16>(low).bits) | std::uint32_t(round_to<bf16>(high).bits) << 16;
  };
  std::vector<std::uint32_t> a_values, b_values;
  for (int i = 0; i < 256; ++i) {
    a_values.push_back(pair(float(128 + i % 128), float(i - 128)));
    b_values.push_back(pair(i < 128 ? -128.0f : -256.0f, float(i % 16)));
  }
  for_each_order([&] {
    DeviceArray<std::uint32_t> a(a_values), b(b_values), sums(a_values.size());
    cuda::launch(add_kernel, {.grid = 1, .block = unsigned(a_values.size())}, a.data(), b.data(), sums.data());
    const std::vector<std::uint32_t> result = sums.download();
    for (int i = 0; i < 256; ++i) {
      const auto number = [&](int half) { return to_float(bf16{std::uint16_t(result[std::size_t(i)] >> 16 * half)}); };
      REQUIRE(number(0) == float(i < 128 ? i : i % 128 - 128));
      REQUIRE(number(1) == float(i - 128 + i % 16));
    }
  });
}

TEST_CASE("multiply_bf16_pairs multiplies halves apart, rounds once, and keeps subnormal numbers and signs of zeros") {
  const auto pair = [](float low, float high) {
    return std::uint32_t(round_to<bf16>(low).bits) | std::uint32_t(round_to<bf16>(high).bits) << 16;
  };
  const std::vector<float> numbers = {0.0f,       -0.0f,     1.0f,      -1.5f,     0x1.02p0f,  0x1.fep0f,
                                      -0x1.86p3f, 0x1p-126f, 0x1p-127f, 0x1p-133f, -0x1p-130f, 0x1p100f,
                                      0x1p126f,   0x1p127f,  3.0f,      -6.0f};
  std::vector<std::uint32_t> a_values, b_values;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    for (std::size_t j = 0; j < numbers.size(); ++j) {
      a_values.push_back(pair(numbers[i], numbers[j]));
      b_values.push_back(pair(numbers[j], numbers[(i + j) % numbers.size()]));
    }
  }
  for_each_order([&] {
    DeviceArray<std::uint32_t> a(a_values), b(b_values), products(a_values.size());
    cuda::launch(multiply_kernel, {.grid = 1, .block = unsigned(a_values.size())}, a.data(), b.data(), products.data());
    const std::vector<std::uint32_t> result = products.download();
    for (std::size_t i = 0; i < result.size(); ++i) {
      for (int half = 0; half < 2; ++half) {
        const auto number = [half](std::uint32_t word) { return to_float(bf16{std::uint16_t(word >> 16 * half)}); };
        const double want = double(number(a_values[i])) * double(number(b_values[i])),
                     found = double(number(result[i]));
        const double rounding = std::max(std::abs(want) * 0x1p-8, 0x1p-134);
        CAPTURE(want);
        CAPTURE(found);
        if (std::abs(want) >= 0x1.ffp127) {
          REQUIRE((std::isinf(found) && std::signbit(found) == std::signbit(want)));
        } else {
          REQUIRE(std::abs(found - want) <= rounding);
          REQUIRE(std::signbit(found) == std::signbit(want));
        }
      }
    }
  });
}
