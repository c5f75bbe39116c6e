// Planted bugs: blocks that run at once and hand something to one another through device memory.
#include "ivl/cuda/prim/barrier.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

namespace {

constexpr int adders = 128, grid_blocks = 12;

enum class Slip { none, no_barrier, late, read_only, relaxed, no_acquire, fences, no_fence_before, no_fence_behind };

/// How many blocks came before.
unsigned arrive(unsigned* arrived, Slip slip) {
  if (slip < Slip::relaxed) return prim::add_acquire_release(arrived, 1);
  if (slip == Slip::no_acquire) return simt::add_release(arrived, 1, simt::Site::current());
  if (slip == Slip::fences || slip == Slip::no_fence_behind) __threadfence();
  const unsigned before = atomicAdd(arrived, 1);
  if (slip == Slip::fences || slip == Slip::no_fence_before) __threadfence();
  return before;
}

/// Every thread leaves a one; the block that comes last adds them all up.
void add_up(unsigned* parts, unsigned* arrived, unsigned* sum, Slip slip) {
  IVL_SHARED(unsigned, before);
  IVL_SHARED(unsigned, total);
  const auto write_own = [&] { parts[blockIdx.x * adders + threadIdx.x] = 1; };
  if (threadIdx.x == 0) total = 0;
  if (slip != Slip::late) write_own();
  if (slip != Slip::no_barrier) __syncthreads();
  if (threadIdx.x == 0) before = arrive(arrived, slip);
  if (slip == Slip::late) write_own();
  __syncthreads();
  if (before != gridDim.x - 1) return;
  unsigned own = 0;
  for (unsigned i = threadIdx.x * 4; i < gridDim.x * adders; i += adders * 4) {
    const uint4 four =
        slip == Slip::read_only ? prim::load_read_only(&parts[i]) : *reinterpret_cast<const uint4*>(&parts[i]);
    own += four.x + four.y + four.z + four.w;
  }
  atomicAdd(&total, own);
  __syncthreads();
  if (threadIdx.x == 0) *sum = total;
}

bool adds_up(Slip slip) {
  DeviceArray<unsigned> parts(grid_blocks * adders), arrived(std::vector<unsigned>{0}), sum(1);
  launch(add_up, {.grid = grid_blocks, .block = adders}, parts.data(), arrived.data(), sum.data(), slip);
  return sum.download()[0] == grid_blocks * adders;
}

}  // namespace

TEST_CASE("planted: a block arrives before all of its warps have written their part") {
  check_planted([](bool planted) { return adds_up(planted ? Slip::no_barrier : Slip::none); },
                {.wrong_values = true, .race_checker = {Bug::race}, .says = "nothing orders it behind the write"});
}

TEST_CASE("planted: a block writes its part after it has arrived") {
  check_planted([](bool planted) { return adds_up(planted ? Slip::late : Slip::none); },
                {.wrong_values = true, .race_checker = {Bug::race}, .says = "nothing orders it behind the write"});
}

TEST_CASE("planted: what other blocks of the grid wrote is read past the caches that writes go through") {
  check_planted([](bool planted) { return adds_up(planted ? Slip::read_only : Slip::none); },
                {.race_checker = {Bug::race}, .says = "reads through the read-only path what this grid has written"});
}

TEST_CASE("planted: a block arrives without a release, without an acquire, or without a fence on one side") {
  for (const Slip slip : {Slip::relaxed, Slip::no_acquire, Slip::no_fence_before, Slip::no_fence_behind}) {
    CAPTURE(int(slip));
    const Slip right = slip == Slip::no_acquire || slip == Slip::relaxed ? Slip::none : Slip::fences;
    check_planted([=](bool planted) { return adds_up(planted ? slip : right); },
                  {.race_checker = {Bug::race}, .says = "nothing orders it behind the write by thread ("});
  }
}

TEST_CASE("planted: two threads of a block, or two blocks, write one place of device memory") {
  for (const bool two_blocks : {false, true}) {
    check_planted(
        [=](bool planted) {
          DeviceArray<int> x(std::vector<int>(2, 7)), y(64);
          launch(
              +[](const int* x, int* y, bool planted) {
                const int seven = x[threadIdx.x];
                y[planted ? 0 : blockIdx.x * 32 + threadIdx.x] = seven;
              },
              {.grid = two_blocks ? 2u : 1u, .block = two_blocks ? 1u : 2u}, x.data(), y.data(), planted);
          return y.download()[0] == 7;
        },
        {.race_checker = {Bug::race}, .says = "writes device memory"});
  }
}

TEST_CASE("planted: a thread reads from device memory what another one of its block writes, without a barrier") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(std::vector<int>(64, 1)), y(64);
        launch(
            +[](int* x, int* y, bool planted) {
              x[threadIdx.x] = 2;
              if (!planted) __syncthreads();
              y[threadIdx.x] = x[threadIdx.x ^ 32];
            },
            {.grid = 1, .block = 64}, x.data(), y.data(), planted);
        return y.download()[0] == 2;
      },
      {.wrong_values = true, .race_checker = {Bug::race}, .says = "reads device memory"});
}

TEST_CASE("planted: a barrier of the grid is missing between a write and another block's read") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(4), y(4);
        launch(
            +[](int* x, int* y, bool planted) {
              x[blockIdx.x] = int(blockIdx.x);
              if (!planted) prim::grid_sync();
              y[blockIdx.x] = x[3 - blockIdx.x];
            },
            {.grid = 4, .block = 1, .cooperative = true}, x.data(), y.data(), planted);
        return y.download() == std::vector<int>{3, 2, 1, 0};
      },
      {.wrong_values = true, .race_checker = {Bug::race}, .says = "reads device memory"});
}

TEST_CASE("what a warp, a named barrier or a chain of blocks hands on is seen") {
  for_each_order([] {
    DeviceArray<unsigned> data(32), flags(std::vector<unsigned>(2, 0)), y(64);
    launch(
        +[](unsigned* data, unsigned* flags, unsigned* y) {
          // Block 0 writes, its first thread tells block 1, whose first thread tells block 2: it passes on what it saw.
          if (blockIdx.x == 0) {
            data[threadIdx.x] = threadIdx.x;
            __syncwarp();
            if (threadIdx.x == 0) prim::store_release(&flags[0], 1);
          } else if (threadIdx.x == 0) {
            while (prim::load_acquire(&flags[blockIdx.x - 1]) == 0) {
            }
            if (blockIdx.x == 1) prim::store_release(&flags[1], 1);
          }
          prim::named_barrier_sync(1, 32);
          if (blockIdx.x == 2) y[threadIdx.x] = data[31 - threadIdx.x];
        },
        {.grid = 3, .block = 32, .cooperative = true}, data.data(), flags.data(), y.data());
    CHECK(y.download()[0] == 31);
  });
}
