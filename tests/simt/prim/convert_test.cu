// Conformance of conversions: bit for bit those of core/scalar.hpp. The same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/convert.cuh"

#include <bit>
#include <cmath>
#include <random>

#include "ivl/cuda/runtime/launch.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

template <class Scalar>
__global__ void widen_kernel(const Scalar* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = cuda::prim::widen(x[i]);
}

/// y[i] = x[i] rounded; pairs[i] of x[i] and x[i ^ 1]; back[i] is the pair's second, widened.
template <class Scalar>
__global__ void narrow_kernel(const float* x, Scalar* y, std::uint32_t* pairs, float* back) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = cuda::prim::narrow<Scalar>(x[i]);
  pairs[i] = cuda::prim::narrow_pair<Scalar>(x[i], x[i ^ 1]);
  back[i] = cuda::prim::widen_pair<Scalar>(pairs[i]).y;
}

}  // namespace

TEST_CASE_TEMPLATE("widen gives every scalar's value", Scalar, bf16, half) {
  std::vector<Scalar> values;
  for (unsigned bits = 0; bits < 65536; ++bits) values.push_back(Scalar{std::uint16_t(bits)});
  DeviceArray<Scalar> x(values);
  DeviceArray<float> y(values.size());
  cuda::launch(widen_kernel<Scalar>, {.grid = 256, .block = 256}, x.data(), y.data());
  const std::vector<float> result = y.download();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float want = to_float(values[i]);
    if (std::isnan(want) ? !std::isnan(result[i])
                         : std::bit_cast<unsigned>(result[i]) != std::bit_cast<unsigned>(want)) {
      REQUIRE(result[i] == want);
    }
  }
}

TEST_CASE_TEMPLATE("narrow and narrow_pair round to nearest, ties to even", Scalar, bf16, half) {
  std::mt19937 random{3};
  std::vector<float> values{0.0f,      -0.0f,    1.0f + 0x1p-8f, 1.0f + 0x3p-8f, 1.0f + 0x1p-11f, 65504.0f,    65519.0f,
                            65520.0f,  0x1p-24f, 0x1p-25f,       0x3p-26f,       0x1p-14f,        -0x1.8p-15f, INFINITY,
                            -INFINITY, NAN,      3e38f,          0x1p-140f};
  while (values.size() < 4096) values.push_back(std::bit_cast<float>(unsigned(random())));
  while (values.size() < 8192) values.push_back(std::ldexp(float(int(random())), -int(random() % 64)));
  DeviceArray<float> x(values), back(values.size());
  DeviceArray<Scalar> y(values.size());
  DeviceArray<std::uint32_t> pairs(values.size());
  cuda::launch(narrow_kernel<Scalar>, {.grid = 32, .block = 256}, x.data(), y.data(), pairs.data(), back.data());
  const std::vector<Scalar> result = y.download();
  const std::vector<std::uint32_t> result_pairs = pairs.download();
  const std::vector<float> result_back = back.download();
  for (std::size_t i = 0; i < values.size(); ++i) {
    CAPTURE(values[i]);
    const Scalar first = round_to<Scalar>(values[i]), second = round_to<Scalar>(values[i ^ 1]);
    REQUIRE(result[i].bits == first.bits);
    REQUIRE(result_pairs[i] == (std::uint32_t(first.bits) | std::uint32_t(second.bits) << 16));
    if (!std::isnan(to_float(second))) REQUIRE(result_back[i] == to_float(second));
  }
}
