// Planted bugs: launches that hardware refuses.
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

TEST_CASE("planted: more threads than a block may have") {
  check_planted(
      [](bool planted) {
        launch(+[]() {}, {.grid = 1, .block = planted ? 1056u : 1024u});
        return true;
      },
      {.reported = {Bug::launch_limit}, .says = "1056 threads per block, expected 1 to 1024"});
}

TEST_CASE("planted: an empty grid") {
  check_planted(
      [](bool planted) {
        launch(+[]() {}, {.grid = planted ? 0u : 1u, .block = 32});
        return true;
      },
      {.reported = {Bug::launch_limit}, .says = "a grid of (0,1,1) blocks"});
}

TEST_CASE("planted: more dynamic shared memory than a block may have") {
  check_planted(
      [](bool planted) {
        launch(+[]() {}, {.grid = 1, .block = 32, .shared_bytes = planted ? 300 * 1024 : 227 * 1024});
        return true;
      },
      {.reported = {Bug::launch_limit}, .says = "bytes of dynamic shared memory"});
}

TEST_CASE("planted: more than 48 KiB of dynamic shared memory that the kernel was not allowed") {
  const auto kernel = +[](int* to) { *to = 1; };
  check_planted(
      [&](bool planted) {
        DeviceArray<int> result(1);
        const int bytes = 50 * 1024;
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, planted ? 48 * 1024 : bytes));
        cudaLaunchConfig_t config = {};
        config.gridDim = config.blockDim = 1;
        config.dynamicSmemBytes = bytes;
        check(cudaLaunchKernelEx(&config, kernel, result.data()));
        return result.download()[0] == 1;
      },
      {.reported = {Bug::launch_limit},
       .says = "51200 bytes of dynamic shared memory, and the kernel was allowed 49152"});
}

TEST_CASE("planted: a kernel on the default stream beside a context's") {
  check_planted(
      [](bool planted) {
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        struct Close {
          cudaStream_t stream;
          ~Close() { (void)cudaStreamDestroy(stream); }
        } close{stream};
        launch(+[]() {}, {.grid = 1, .block = 32, .stream = planted ? nullptr : stream});
        return true;
      },
      {.reported = {Bug::stream}, .says = "a kernel on the default stream"});
}

TEST_CASE("planted: more static shared memory than nvcc allows") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              IVL_SHARED(char[40 * 1024], first);
              first[threadIdx.x] = 0;
              if (planted) {
                IVL_SHARED(char[9 * 1024], second);
                second[threadIdx.x] = 0;
              }
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::launch_limit}, .says = "static shared memory grows to 50176 bytes"});
}

#if defined(SIMT_KEEPS_LAUNCH_BOUNDS)
namespace {

template <int Threads>
__global__ void __launch_bounds__(Threads, 2) bounded_kernel(int* to) {
  to[threadIdx.x] = 1;
}

}  // namespace

TEST_CASE("planted: a kernel is launched with more threads than it was compiled for") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> result(256);
        launch(planted ? bounded_kernel<128> : bounded_kernel<256>, {.grid = 1, .block = 256}, result.data());
        return result.download()[255] == 1;
      },
      {.reported = {Bug::launch_limit}, .says = "256 threads per block, and the kernel was compiled for at most 128"});
}
#endif

namespace {

__global__ void failing_kernel(bool fails) {
  if (fails && blockIdx.x == 1 && threadIdx.x == 3) __trap();
}
__global__ void innocent_kernel() {}

/// What is said of the first of two kernels, which fails.
std::string error_of_two_launches() {
  try {
    launch(failing_kernel, {.grid = 2, .block = 32}, true);
    launch(innocent_kernel, {.grid = 1, .block = 1});
    check(cudaDeviceSynchronize());
  } catch (const CudaError& error) {
    simt::device_error() = cudaSuccess;
    CHECK(error.code == cudaErrorLaunchFailure);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("planted: a kernel fails on the device: where every launch waits, its name is said") {
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  launch(failing_kernel, {.grid = 2, .block = 32}, false);
  const std::string unasked = error_of_two_launches();
  CHECK(has(unasked, "cudaErrorLaunchFailure"));
  CHECK(has(unasked, "launching (anonymous namespace)::innocent_kernel()"));
  CHECK(has(unasked, "IVL_CUDA_SYNC=1"));
  synchronous_launches() = true;
  const std::string asked = error_of_two_launches();
  synchronous_launches() = false;
  CHECK(has(asked, "running (anonymous namespace)::failing_kernel(bool) on 2 x 1 x 1 blocks of 32 x 1 x 1 threads"));
  CHECK(has(asked, "launch_test.cpp:"));
}

TEST_CASE("IVL_CUDA_SYNC is 0, 1 or refused") {
  using cuda::detail::runtime::asked_for_synchronous_launches;
  CHECK_FALSE(asked_for_synchronous_launches());
  setenv("IVL_CUDA_SYNC", "1", 1);
  CHECK(asked_for_synchronous_launches());
  setenv("IVL_CUDA_SYNC", "yes", 1);
  CHECK_THROWS_WITH_AS(asked_for_synchronous_launches(), "IVL_CUDA_SYNC: expected 0 or 1, found yes", RequestError);
  unsetenv("IVL_CUDA_SYNC");
}
