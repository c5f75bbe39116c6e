// Conformance of the built-ins that the emulator provides: shuffles, votes, reductions, atomics, barriers with a vote.
// The same file runs in the emulator and on a GPU.
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

constexpr int shuffle_results = 8;

__global__ void shuffle_kernel(int* y) {
  const int lane = int(threadIdx.x);
  int* out = &y[shuffle_results * lane];
  out[0] = __shfl_sync(cuda::whole_warp, lane, 37);  // modulo the width
  out[1] = __shfl_sync(cuda::whole_warp, lane, lane + 1, 8);
  out[2] = __shfl_up_sync(cuda::whole_warp, lane, 3);
  out[3] = __shfl_up_sync(cuda::whole_warp, lane, 1, 4);
  out[4] = __shfl_down_sync(cuda::whole_warp, lane, 5);
  out[5] = __shfl_down_sync(cuda::whole_warp, lane, 2, 16);
  out[6] = __shfl_xor_sync(cuda::whole_warp, lane, 21);
  out[7] = int(__shfl_xor_sync(cuda::whole_warp, (1ll << 40) + lane, 6) >> 8 >> 16) + lane % 2;
}

constexpr int vote_results = 9;

__global__ void vote_kernel(unsigned* y) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = lane % 3 == 0 ? 0x49249249u : 0xb6db6db6u;  // two disjoint sets, each with its own operations
  unsigned* out = &y[vote_results * threadIdx.x];
  out[0] = __ballot_sync(mask, lane > 10);
  out[1] = unsigned(__any_sync(mask, lane == 4));
  out[2] = unsigned(__all_sync(mask, lane != 4));
  out[3] = __reduce_add_sync(mask, lane);
  out[4] = unsigned(__reduce_min_sync(mask, int(lane) - 20));
  out[5] = __reduce_max_sync(mask, lane ^ 5u);
  out[6] = unsigned(__syncthreads_or(threadIdx.x == 40));
  out[7] = unsigned(__syncthreads_and(threadIdx.x != 40));
  out[8] = unsigned(__syncthreads_count(threadIdx.x % 5 == 0));
}

__global__ void atomic_kernel(int* ints, float* sum, unsigned* bits) {
  atomicAdd(&ints[0], int(threadIdx.x));
  atomicMax(&ints[1], int(threadIdx.x));
  atomicMin(&ints[2], -int(threadIdx.x));
  if (threadIdx.x == 9) atomicExch(&ints[3], 77);
  if (threadIdx.x < 40) atomicCAS(&ints[4], int(threadIdx.x) == 39 ? 5 : 6, 8);
  atomicAdd(sum, 0.5f);
  atomicOr(bits, 1u << threadIdx.x % 32);
}

__global__ void sum_kernel(const float* x, float* y) {
  IVL_SHARED(float[32], partial);
  const float value = x[threadIdx.x];
  const float sum = cuda::block_sum(value, partial);
  y[threadIdx.x] = sum + cuda::warp_max(value);
}

}  // namespace

TEST_CASE("shuffles read the lane that the CUDA guide says") {
  for_each_order([] {
    DeviceArray<int> y(32 * shuffle_results);
    cuda::launch(shuffle_kernel, {.grid = 1, .block = 32}, y.data());
    const std::vector<int> result = y.download();
    for (int lane = 0; lane < 32; ++lane) {
      CAPTURE(lane);
      const int* out = &result[std::size_t(shuffle_results * lane)];
      REQUIRE(out[0] == 5);
      REQUIRE(out[1] == lane / 8 * 8 + (lane + 1) % 8);
      REQUIRE(out[2] == (lane >= 3 ? lane - 3 : lane));
      REQUIRE(out[3] == (lane % 4 >= 1 ? lane - 1 : lane));
      REQUIRE(out[4] == (lane + 5 < 32 ? lane + 5 : lane));
      REQUIRE(out[5] == (lane % 16 + 2 < 16 ? lane + 2 : lane));
      REQUIRE(out[6] == (lane ^ 21));
      REQUIRE(out[7] == (1 << 16) + lane % 2);
    }
  });
}

TEST_CASE("votes and reductions cover their mask, and block votes the block") {
  for_each_order([] {
    DeviceArray<unsigned> y(64 * vote_results);
    cuda::launch(vote_kernel, {.grid = 1, .block = 64}, y.data());
    const std::vector<unsigned> result = y.download();
    for (unsigned thread = 0; thread < 64; ++thread) {
      CAPTURE(thread);
      const bool third = thread % 32 % 3 == 0;
      unsigned ballot = 0, sum = 0, most = 0;
      int least = 99;
      for (unsigned lane = 0; lane < 32; ++lane) {
        if ((lane % 3 == 0) != third) continue;
        if (lane > 10) ballot |= 1u << lane;
        sum += lane;
        least = std::min(least, int(lane) - 20);
        most = std::max(most, lane ^ 5u);
      }
      const unsigned* out = &result[vote_results * thread];
      REQUIRE(out[0] == ballot);
      REQUIRE(out[1] == (third ? 0u : 1u));
      REQUIRE(out[2] == (third ? 1u : 0u));
      REQUIRE(out[3] == sum);
      REQUIRE(int(out[4]) == least);
      REQUIRE(out[5] == most);
      REQUIRE(out[6] == 1);
      REQUIRE(out[7] == 0);
      REQUIRE(out[8] == 13);
    }
  });
}

TEST_CASE("atomics lose nothing") {
  for_each_order([] {
    DeviceArray<int> ints(std::vector<int>{0, 0, 0, 0, 5});
    DeviceArray<float> sum(std::vector<float>{0});
    DeviceArray<unsigned> bits(std::vector<unsigned>{0});
    cuda::launch(atomic_kernel, {.grid = 3, .block = 64}, ints.data(), sum.data(), bits.data());
    const std::vector<int> result = ints.download();
    REQUIRE(result[0] == 3 * 64 * 63 / 2);
    REQUIRE(result[1] == 63);
    REQUIRE(result[2] == -63);
    REQUIRE(result[3] == 77);
    REQUIRE(result[4] == 8);
    REQUIRE(sum.download()[0] == 96);
    REQUIRE(bits.download()[0] == ~0u);
  });
}

TEST_CASE("block_sum and warp_max give all threads the same bits") {
  for (const unsigned threads : {32u, 64u, 1024u}) {
    CAPTURE(threads);
    std::vector<float> values;
    for (unsigned i = 0; i < threads; ++i) values.push_back(float(i % 32));
    for_each_order([&] {
      DeviceArray<float> x(values), y(threads);
      cuda::launch(sum_kernel, {.grid = 1, .block = threads}, x.data(), y.data());
      for (const float sum : y.download()) REQUIRE(sum == float(threads / 32 * 496 + 31));
    });
  }
}
