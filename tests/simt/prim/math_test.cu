// Conformance of approximations, within what the PTX ISA promises: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/math.cuh"

#include <cmath>

#include "ivl/cuda/runtime/launch.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

/// y [count][4]
__global__ void math_kernel(const float* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[4 * i] = cuda::prim::exp2_approx(x[i]);
  y[4 * i + 1] = cuda::prim::tanh_approx(x[i]);
  y[4 * i + 2] = cuda::prim::reciprocal_approx(x[i]);
  y[4 * i + 3] = cuda::prim::rsqrt_approx(fabsf(x[i]));
}

}  // namespace

TEST_CASE("approximations stay within their stated errors") {
  std::vector<float> values;
  for (int i = 0; i < 2048; ++i)
    values.push_back(std::ldexp(1 + float(i % 97) / 97, i % 14 - 8) * (i % 2 ? 1.0f : -1.0f));
  DeviceArray<float> x(values), y(4 * values.size());
  cuda::launch(math_kernel, {.grid = 8, .block = 256}, x.data(), y.data());
  const std::vector<float> result = y.download();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = double(values[i]);
    CAPTURE(v);
    const double wants[4] = {std::exp2(v), std::tanh(v), 1 / v, 1 / std::sqrt(std::abs(v))};
    // "ex2.approx" 2^-22, "tanh.approx" 2^-11, "rcp.approx" 1 ulp, "rsqrt.approx" 2^-22.9; and one rounding by us.
    const double bounds[4] = {0x1p-22, 0x1p-11, 0x1p-23, 0x1.2p-23};
    for (int f = 0; f < 4; ++f) {
      CAPTURE(f);
      REQUIRE(std::abs(double(result[4 * i + std::size_t(f)]) - wants[f]) <=
              std::abs(wants[f]) * (bounds[f] + 0x1p-24));
    }
  }
}

TEST_CASE("exp2_approx is zero for minus infinity and where the result is subnormal") {
  DeviceArray<float> x(std::vector<float>{-INFINITY, -130.0f, -126.0f, 0.0f}), y(16);
  cuda::launch(math_kernel, {.grid = 1, .block = 4}, x.data(), y.data());
  const std::vector<float> result = y.download();
  CHECK(result[0] == 0);
  CHECK(result[4] == 0);
  CHECK(result[8] == 0x1p-126f);
  CHECK(result[12] == 1);
}
