// Conformance of named barriers and the grid's: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/barrier.cuh"

#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

// Not `using namespace ivl`: the toolkit's own namespace cuda is here too.
using ivl::DeviceArray, ivl::for_each_order;
namespace prim = ivl::cuda::prim;

/// Warp 1 produces and warp 0 consumes, through one box and two barriers; warps 2 and 3 have a barrier of their own.
__global__ void pipe_kernel(int* y, int steps) {
  IVL_SHARED(int[32], box);
  IVL_SHARED(int[64], other);
  constexpr int full = 1, empty = 2, own = 3;
  const int lane = int(threadIdx.x) % 32;
  if (threadIdx.x < 32) {
    int sum = 0;
    for (int step = 0; step < steps; ++step) {
      prim::named_barrier_sync(full, 64);
      sum += box[31 - lane];
      prim::named_barrier_arrive(empty, 64);
    }
    y[lane] = sum;
  } else if (threadIdx.x < 64) {
    for (int step = 0; step < steps; ++step) {
      if (step > 0) prim::named_barrier_sync(empty, 64);
      box[lane] = step * lane;
      prim::named_barrier_arrive(full, 64);
    }
    if (steps > 0) prim::named_barrier_sync(empty, 64);
  } else {
    other[threadIdx.x - 64] = int(threadIdx.x);
    prim::named_barrier_sync(own, 64);
    y[threadIdx.x - 32] = other[127 - threadIdx.x];
  }
}

/// Every block adds up what all wrote before the barrier.
__global__ void grid_kernel(int* values, int* sums) {
  if (threadIdx.x == 0) values[blockIdx.x] = int(blockIdx.x) + 1;
  prim::grid_sync();
  if (threadIdx.x != 31) return;
  int sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += values[i];
  sums[blockIdx.x] = sum;
}

}  // namespace

TEST_CASE("named barriers make a pipe of two warps, while others use one of their own") {
  for (const int steps : {1, 2, 5}) {
    CAPTURE(steps);
    for_each_order([&] {
      DeviceArray<int> y(96);
      ivl::cuda::launch(pipe_kernel, {.grid = 1, .block = 128}, y.data(), steps);
      const std::vector<int> result = y.download();
      for (int lane = 0; lane < 32; ++lane) REQUIRE(result[std::size_t(lane)] == (31 - lane) * steps * (steps - 1) / 2);
      for (int i = 0; i < 64; ++i) REQUIRE(result[std::size_t(32 + i)] == 127 - i);
    });
  }
}

TEST_CASE("grid_sync waits for every block") {
  for_each_order([] {
    DeviceArray<int> values(7), sums(7);
    ivl::cuda::launch(grid_kernel, {.grid = 7, .block = 32, .cooperative = true}, values.data(), sums.data());
    for (const int sum : sums.download()) REQUIRE(sum == 28);
  });
}
