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
