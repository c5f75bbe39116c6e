// Conformance of loads, stores, and the accesses that order others: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/memory.cuh"

#include "ivl/cuda/runtime/launch.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

__global__ void copy_words_kernel(const uint4* x, uint4* y) {
  cuda::prim::store_once(&y[2 * threadIdx.x], cuda::prim::load_read_only(&x[2 * threadIdx.x]));
  cuda::prim::store_once(&y[2 * threadIdx.x + 1], cuda::prim::load_once(&x[2 * threadIdx.x + 1]));
}

/// The block that comes last adds up what the others wrote.
__global__ void last_block_kernel(int* parts, unsigned* came, int* sum) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = int(blockIdx.x) + 1;
  if (cuda::prim::add_acquire_release(came, 1) + 1 != gridDim.x) return;
  int all = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) all += parts[i];
  *sum = all;
}

/// Blocks take turns; each adds to a value that only the flag protects.
__global__ void turns_kernel(unsigned* turn, unsigned* arrived, int* value) {
  if (threadIdx.x != 0) return;
  while (cuda::prim::load_acquire(turn) != blockIdx.x) {
  }
  *value = 2 * *value + 1;
  cuda::prim::store_release(turn, blockIdx.x + 1);
  cuda::prim::add_release(arrived, 10);
}

}  // namespace

TEST_CASE("load_read_only, load_once and store_once move 16 bytes") {
  std::vector<uint4> values;
  for (unsigned i = 0; i < 64; ++i) values.push_back(make_uint4(i, i * i, ~i, i << 24));
  for_each_order([&] {
    DeviceArray<uint4> x(values), y(values.size());
    cuda::launch(copy_words_kernel, {.grid = 1, .block = 32}, x.data(), y.data());
    REQUIRE(std::memcmp(y.download().data(), values.data(), values.size() * sizeof(uint4)) == 0);
  });
}

TEST_CASE("add_acquire_release tells the last block, which sees what the others wrote") {
  for_each_order([] {
    DeviceArray<int> parts(9), sum(1);
    DeviceArray<unsigned> came(std::vector<unsigned>{0});
    cuda::launch(last_block_kernel, {.grid = 9, .block = 32}, parts.data(), came.data(), sum.data());
    REQUIRE(sum.download()[0] == 45);
  });
}

TEST_CASE("load_acquire waits for store_release") {
  for_each_order([] {
    DeviceArray<unsigned> turn(std::vector<unsigned>{0}), arrived(std::vector<unsigned>{0});
    DeviceArray<int> value(std::vector<int>{0});
    cuda::launch(turns_kernel, {.grid = 8, .block = 32, .cooperative = true}, turn.data(), arrived.data(),
                 value.data());
    REQUIRE(value.download()[0] == 255);
    REQUIRE(arrived.download()[0] == 80);
  });
}
