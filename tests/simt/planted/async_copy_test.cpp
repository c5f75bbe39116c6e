// Planted bugs: cp.async.
#include "ivl/cuda/prim/async_copy.cuh"

#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

namespace {

constexpr int threads = 64;

std::vector<int> counted(int number) {
  std::vector<int> values;
  for (int i = 0; i < number; ++i) values.push_back(i);
  return values;
}

/// Runs `kernel(x, y, planted)`, which shall reverse 4 x 64 integers.
bool reverses(void (*kernel)(int*, int*, bool), bool planted) {
  DeviceArray<int> x(counted(4 * threads)), y(4 * threads);
  launch(kernel, {.grid = 1, .block = threads}, x.data(), y.data(), planted);
  const std::vector<int> result = y.download();
  for (int i = 0; i < 4 * threads; ++i) {
    if (result[std::size_t(i)] != 4 * threads - 1 - i) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("planted: nobody waits for a copy") {
  check_planted(
      [](bool planted) {
        return reverses(
            +[](int* x, int* y, bool planted) {
              IVL_SHARED(int[4 * threads], stage);
              const int t = int(threadIdx.x);
              prim::cp_async<16>(&stage[4 * t], &x[4 * t]);
              prim::cp_async_commit();
              if (!planted) prim::cp_async_wait<0>();
              __syncthreads();
              for (int i = 0; i < 4; ++i) y[4 * threads - 1 - 4 * t - i] = stage[4 * t + i];
              prim::cp_async_wait_all();
            },
            planted);
      },
      {.wrong_values = true, .race_checker = {Bug::async_copy}, .says = "has not been waited for"});
}

TEST_CASE("planted: the wait leaves one group too many") {
  check_planted(
      [](bool planted) {
        return reverses(
            +[](int* x, int* y, bool planted) {
              IVL_SHARED(int[4 * threads], stage);
              const int t = int(threadIdx.x);
              for (int half = 0; half < 2; ++half) {
                prim::cp_async<8>(&stage[4 * t + 2 * half], &x[4 * t + 2 * half]);
                prim::cp_async_commit();
              }
              if (planted) {
                prim::cp_async_wait<1>();
              } else {
                prim::cp_async_wait<0>();
              }
              __syncthreads();
              for (int i = 0; i < 4; ++i) y[4 * threads - 1 - 4 * t - i] = stage[4 * t + i];
              prim::cp_async_wait_all();
            },
            planted);
      },
      {.wrong_values = true, .race_checker = {Bug::async_copy}, .says = "has not been waited for"});
}

TEST_CASE("planted: no barrier between the wait and the read of another thread's copy") {
  check_planted(
      [](bool planted) {
        return reverses(
            +[](int* x, int* y, bool planted) {
              IVL_SHARED(int[4 * threads], stage);
              const int t = int(threadIdx.x);
              prim::cp_async<16>(&stage[4 * t], &x[4 * t]);
              prim::cp_async_commit();
              prim::cp_async_wait<0>();
              if (!planted) __syncthreads();
              for (int i = 0; i < 4; ++i) y[4 * t + i] = stage[4 * threads - 1 - 4 * t - i];
            },
            planted);
      },
      {.wrong_values = true, .race_checker = {Bug::race, Bug::uninitialised}});
}

TEST_CASE("planted: the source is overwritten before the wait") {
  check_planted(
      [](bool planted) {
        return reverses(
            +[](int* x, int* y, bool planted) {
              IVL_SHARED(int[4 * threads], stage);
              const int t = int(threadIdx.x);
              prim::cp_async<16>(&stage[4 * t], &x[4 * t]);
              prim::cp_async_commit();
              if (!planted) prim::cp_async_wait<0>();
              for (int i = 0; i < 4; ++i) x[4 * t + i] = 0;
              prim::cp_async_wait<0>();
              for (int i = 0; i < 4; ++i) y[4 * threads - 1 - 4 * t - i] = stage[4 * t + i];
            },
            planted);
      },
      {.wrong_values = true});
}

TEST_CASE("planted: a stage is filled again while others still read it") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(counted(4 * threads)), y(threads);
        launch(
            +[](const int* x, int* y, bool planted) {
              IVL_SHARED(int[threads], stage);
              const int t = int(threadIdx.x);
              int sum = 0;
              for (int step = 0; step < 4; ++step) {
                prim::cp_async<4>(&stage[t], &x[step * threads + t]);
                prim::cp_async_commit();
                prim::cp_async_wait<0>();
                __syncthreads();
                sum += stage[threads - 1 - t];
                if (!planted) __syncthreads();
              }
              y[t] = sum;
            },
            {.grid = 1, .block = threads}, x.data(), y.data(), planted);
        const std::vector<int> result = y.download();
        for (int t = 0; t < threads; ++t) {
          if (result[std::size_t(t)] != 6 * threads + 4 * (threads - 1 - t)) return false;
        }
        return true;
      },
      {.wrong_values = true, .race_checker = {Bug::race}, .says = "no barrier between this and the"});
}

TEST_CASE("planted: a thread exits with a copy under way") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(counted(4 * threads));
        launch(
            +[](const int* x, bool planted) {
              IVL_SHARED(int[4 * threads], stage);
              prim::cp_async<16>(&stage[4 * threadIdx.x], &x[4 * threadIdx.x]);
              prim::cp_async_commit();
              if (!planted) prim::cp_async_wait<0>();
            },
            {.grid = 1, .block = threads}, x.data(), planted);
        return true;
      },
      {.reported = {Bug::async_copy}, .says = "never waited for"});
}

TEST_CASE("planted: a source that is not aligned") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(counted(8));
        launch(
            +[](const int* x, bool planted) {
              IVL_SHARED(int4[1], stage);
              prim::cp_async<16>(stage, x + (planted ? 1 : 0));
              prim::cp_async_wait_all();
            },
            {.grid = 1, .block = 1}, x.data(), planted);
        return true;
      },
      {.reported = {Bug::misaligned}, .says = "the source is not aligned to 16 bytes"});
}

TEST_CASE("planted: a copy goes past the end of shared memory") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(counted(16));
        launch(
            +[](const int* x, bool planted) {
              IVL_DYNAMIC_SHARED(memory);
              prim::cp_async<16>(memory + (planted ? 64 : 48), x);
              prim::cp_async_wait_all();
            },
            {.grid = 1, .block = 1, .shared_bytes = 64}, x.data(), planted);
        return true;
      },
      {.reported = {Bug::memory}, .says = "not in the block's shared memory"});
}

TEST_CASE("planted: a copy reads past the end of its source") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(counted(18));
        launch(
            +[](const int* x, bool planted) {
              IVL_SHARED(int4[1], stage);
              prim::cp_async<16>(stage, x + 16, planted ? 12 : 8);
              prim::cp_async_wait_all();
            },
            {.grid = 1, .block = 1}, x.data(), planted);
        return true;
      },
      {.addresses = {Bug::memory}, .says = "12 bytes outside every object"});
}
