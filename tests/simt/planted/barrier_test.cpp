// Planted bugs: barriers of a block, named ones, the grid's, and loops that wait.
#include "ivl/cuda/prim/barrier.cuh"

#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

TEST_CASE("planted: a reduction reads its partial sums without a barrier") {
  check_planted(
      [](bool planted) {
        DeviceArray<float> y(1);
        launch(
            +[](float* y, bool planted) {
              IVL_SHARED(float[64], values);
              values[threadIdx.x] = float(threadIdx.x);
              if (!planted) __syncthreads();
              if (threadIdx.x == 0) {
                float sum = 0;
                for (const float value : values) sum += value;
                *y = sum;
              }
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        return y.download()[0] == 2016;
      },
      // Thread 0 first meets bytes that nobody wrote; last, bytes that others wrote.
      {.wrong_values = true, .race_checker = {Bug::uninitialised, Bug::race}, .says = "shared byte"});
}

TEST_CASE("planted: a stage is overwritten before all have read it") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(64);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[64], stage);
              int sum = 0;
              for (int step = 0; step < 4; ++step) {
                stage[threadIdx.x] = step;
                __syncthreads();
                sum += stage[threadIdx.x ^ 63];
                if (!planted) __syncthreads();
              }
              y[threadIdx.x] = sum;
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        for (const int sum : y.download()) {
          if (sum != 6) return false;
        }
        return true;
      },
      {.wrong_values = true, .race_checker = {Bug::race}, .says = "no barrier between this and the"});
}

TEST_CASE("planted: a race whose value is right in the ascending order") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(1);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[1], last);
              if (!planted) {
                if (threadIdx.x == 63) *last = 63;
              } else {
                *last = int(threadIdx.x);
              }
              __syncthreads();
              if (threadIdx.x == 0) *y = *last;
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        return y.download()[0] == 63;
      },
      {.wrong_values = true, .race_checker = {Bug::race}});
}

TEST_CASE("planted: two threads write the same value to the same place") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(1);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[1], flag);
              if (planted || threadIdx.x == 0) *flag = 7;
              __syncthreads();
              if (threadIdx.x == 0) *y = *flag;
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        return y.download()[0] == 7;
      },
      {.race_checker = {Bug::race}});
}

TEST_CASE("planted: some threads exit before a barrier") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (planted && threadIdx.x >= 40) return;
              __syncthreads();
            },
            {.grid = 1, .block = 64}, planted);
        return true;
      },
      {.reported = {Bug::deadlock}, .says = "24 have exited"});
}

TEST_CASE("planted: lanes of one warp wait in two different barriers") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (planted && threadIdx.x % 2 == 0) {
                __syncthreads();
              } else {
                __syncthreads();
              }
            },
            {.grid = 1, .block = 64}, planted);
        return true;
      },
      {.reported = {Bug::divergence}, .says = "of the same warp is in __syncthreads"});
}

TEST_CASE("two warps may wait in two different barriers") {
  for (const Order order : simt::all_orders) {
    simt::options().order = order;
    REQUIRE_NOTHROW(launch(
        +[]() {
          if (threadIdx.x < 32) {
            __syncthreads();
          } else {
            __syncthreads();
          }
        },
        {.grid = 2, .block = 64}));
  }
}

TEST_CASE("planted: one warp too few at a named barrier") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (threadIdx.x < (planted ? 32u : 64u)) prim::named_barrier_sync(1, 64);
              if (threadIdx.x >= 96) __syncwarp();
            },
            {.grid = 1, .block = 128}, planted);
        return true;
      },
      {.reported = {Bug::deadlock}, .says = "32 in a named barrier"});
}

TEST_CASE("planted: threads disagree on a named barrier's count") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) { prim::named_barrier_sync(1, planted && threadIdx.x >= 32 ? 96 : 64); },
            {.grid = 1, .block = 64}, planted);
        return true;
      },
      // 96 is more than the block has.
      {.reported = {Bug::barrier_count}, .says = "named barrier 1 for"});
}

TEST_CASE("planted: a named barrier for half a warp") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) { prim::named_barrier_sync(2, planted ? 16 : 32); }, {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::barrier_count}, .says = "whole warps"});
}

TEST_CASE("planted: the consumer does not wait for the producer's named barrier") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(32);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[32], box);
              const unsigned lane = threadIdx.x % 32;
              if (threadIdx.x >= 32) {
                box[lane] = int(lane);
                prim::named_barrier_arrive(1, 64);
              } else {
                if (planted) {
                  prim::named_barrier_arrive(1, 64);
                } else {
                  prim::named_barrier_sync(1, 64);
                }
                y[lane] = box[31 - lane];
              }
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        const std::vector<int> result = y.download();
        for (int i = 0; i < 32; ++i) {
          if (result[std::size_t(i)] != 31 - i) return false;
        }
        return true;
      },
      {.wrong_values = true, .race_checker = {Bug::uninitialised, Bug::race}});
}

TEST_CASE("planted: one block of a cooperative grid does not come to its barrier") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (!planted || blockIdx.x != 1) prim::grid_sync();
            },
            {.grid = 3, .block = 32, .cooperative = true}, planted);
        return true;
      },
      {.reported = {Bug::deadlock}, .says = "64 in grid_sync"});
}

TEST_CASE("planted: a grid barrier in a launch that is not cooperative") {
  check_planted(
      [](bool planted) {
        launch(+[]() { prim::grid_sync(); }, {.grid = 3, .block = 32, .cooperative = !planted});
        return true;
      },
      {.reported = {Bug::launch_limit}, .says = "was not launched as cooperative"});
}

TEST_CASE("planted: all poll a flag that nobody sets") {
  check_planted(
      [](bool planted) {
        DeviceArray<unsigned> flag(std::vector<unsigned>{0});
        launch(
            +[](unsigned* flag, bool planted) {
              if (!planted && threadIdx.x == 63) prim::store_release(flag, 1);
              while (prim::load_acquire(flag) == 0) {
              }
            },
            {.grid = 1, .block = 64}, flag.data(), planted);
        return flag.download()[0] == 1;
      },
      {.reported = {Bug::livelock}, .says = "never comes"});
}

TEST_CASE("a long chain of polls in which somebody makes progress is no livelock") {
  DeviceArray<unsigned> turn(std::vector<unsigned>{0});
  simt::options().spin_limit = 10;
  REQUIRE_NOTHROW(launch(
      +[](unsigned* turn) {
        for (unsigned step = blockIdx.x; step < 1000; step += gridDim.x) {
          while (prim::load_acquire(turn) != step) {
          }
          prim::store_release(turn, step + 1);
        }
      },
      {.grid = 4, .block = 1, .cooperative = true}, turn.data()));
  simt::options().spin_limit = simt::Options().spin_limit;
  CHECK(turn.download()[0] == 1000);
}

TEST_CASE("planted: a loop that never ends and never polls") {
  simt::options().stuck_ms = 100;
  simt::Error error(Bug::race, "");
  try {
    launch(
        +[]() {
          volatile int forever = 1;
          __syncthreads();
          while (forever != 0 && threadIdx.x == 3) {
          }
        },
        {.grid = 1, .block = 32});
  } catch (const simt::Error& thrown) {
    error = thrown;
  }
  simt::options().stuck_ms = simt::Options().stuck_ms;
  CHECK((error.bug == Bug::stuck));
  CHECK(std::string(error.what()).find("thread (3,0,0) of block (0,0,0)") != std::string::npos);
}
