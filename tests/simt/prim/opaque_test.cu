// Conformance of opaque: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/opaque.cuh"

#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

__global__ void opaque_kernel(const int* x, int* y) {
  IVL_SHARED(int[32], shared);
  const int t = int(threadIdx.x);
  *cuda::prim::opaque(&shared[t]) = *cuda::prim::opaque(x + t);
  y[t] = shared[t] + (cuda::prim::opaque(x + t) == x + t);
}

}  // namespace

TEST_CASE("an opaque pointer, to shared or to device memory, is the pointer") {
  std::vector<int> values;
  for (int i = 0; i < 32; ++i) values.push_back(3 * i);
  for_each_order([&] {
    DeviceArray<int> x(values), y(32);
    cuda::launch(opaque_kernel, {.grid = 1, .block = 32}, x.data(), y.data());
    const std::vector<int> result = y.download();
    for (int i = 0; i < 32; ++i) REQUIRE(result[std::size_t(i)] == 3 * i + 1);
  });
}
