// Conformance of cp.async: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/async_copy.cuh"

#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

constexpr int threads = 64;

/// Each thread copies one chunk, of which `source_bytes` come from x, and another thread writes it out.
template <int Bytes>
__global__ void copy_kernel(const unsigned char* x, unsigned char* y, int source_bytes) {
  IVL_SHARED(uint4[threads], stage);
  auto* const bytes = reinterpret_cast<unsigned char*>(&stage[0]);
  const int mine = int(threadIdx.x) * Bytes, other = (threads - 1 - int(threadIdx.x)) * Bytes;
  cuda::prim::cp_async<Bytes>(bytes + mine, x + mine, source_bytes);
  cuda::prim::cp_async_commit();
  cuda::prim::cp_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < Bytes; ++i) y[other + i] = bytes[other + i];
}

/// A ring of three stages: steps are copied two ahead, and summed.
__global__ void ring_kernel(const int* x, int* y, int steps) {
  IVL_SHARED(int[3][threads], stages);
  const int t = int(threadIdx.x);
  const auto fetch = [&](int step) {
    if (step < steps) cuda::prim::cp_async<4>(&stages[step % 3][t], &x[step * threads + t]);
    cuda::prim::cp_async_commit();
  };
  fetch(0);
  fetch(1);
  int sum = 0;
  for (int step = 0; step < steps; ++step) {
    cuda::prim::cp_async_wait<1>();
    __syncthreads();
    fetch(step + 2);
    sum += stages[step % 3][threads - 1 - t];
  }
  cuda::prim::cp_async_wait_all();
  y[t] = sum;
}

template <int Bytes>
void test_copy() {
  std::vector<unsigned char> values;
  for (int i = 0; i < threads * Bytes; ++i) values.push_back(static_cast<unsigned char>(1 + i % 251));
  for (const int source_bytes : {0, 1, Bytes / 2, Bytes - 1, Bytes}) {
    CAPTURE(source_bytes);
    for_each_order([&] {
      DeviceArray<unsigned char> x(values), y(values.size());
      cuda::launch(copy_kernel<Bytes>, {.grid = 1, .block = threads}, x.data(), y.data(), source_bytes);
      const std::vector<unsigned char> result = y.download();
      for (std::size_t i = 0; i < values.size(); ++i)
        REQUIRE(result[i] == (int(i) % Bytes < source_bytes ? values[i] : 0));
    });
  }
}

}  // namespace

TEST_CASE("cp_async copies 4, 8 or 16 bytes and fills with zeros") {
  test_copy<4>();
  test_copy<8>();
  test_copy<16>();
}

TEST_CASE("cp_async_wait leaves the newest groups under way") {
  for (const int steps : {0, 1, 2, 3, 7}) {
    CAPTURE(steps);
    std::vector<int> values;
    for (int i = 0; i < steps * threads; ++i) values.push_back(i * i);
    for_each_order([&] {
      DeviceArray<int> x(values), y(threads);
      cuda::launch(ring_kernel, {.grid = 1, .block = threads}, x.data(), y.data(), steps);
      const std::vector<int> result = y.download();
      for (int t = 0; t < threads; ++t) {
        int want = 0;
        for (int step = 0; step < steps; ++step) want += values[std::size_t(step * threads + threads - 1 - t)];
        REQUIRE(result[std::size_t(t)] == want);
      }
    });
  }
}
