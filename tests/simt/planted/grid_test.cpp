// Planted bugs: blocks that run at once and hand something to one another through device memory.
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

namespace {

constexpr int adders = 128, grid_blocks = 12;

enum class Slip { none, no_barrier, late, read_only };

/// Every thread leaves a one; the block that comes last adds them all up.
void add_up(unsigned* parts, unsigned* arrived, unsigned* sum, Slip slip) {
  IVL_SHARED(unsigned, before);
  IVL_SHARED(unsigned, total);
  const auto write_own = [&] { parts[blockIdx.x * adders + threadIdx.x] = 1; };
  if (threadIdx.x == 0) total = 0;
  if (slip != Slip::late) write_own();
  if (slip != Slip::no_barrier) __syncthreads();
  if (threadIdx.x == 0) before = prim::add_acquire_release(arrived, 1);
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
  check_planted([](bool planted) { return adds_up(planted ? Slip::no_barrier : Slip::none); }, {.wrong_values = true});
}

TEST_CASE("planted: a block writes its part after it has arrived") {
  check_planted([](bool planted) { return adds_up(planted ? Slip::late : Slip::none); }, {.wrong_values = true});
}

TEST_CASE("planted: what other blocks of the grid wrote is read past the caches that writes go through") {
  check_planted([](bool planted) { return adds_up(planted ? Slip::read_only : Slip::none); },
                {.race_checker = {Bug::race}, .says = "reads through the read-only path what this grid has written"});
}
