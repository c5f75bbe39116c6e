// Planted bugs: shuffles, votes and matrix instructions of one warp.
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

namespace {
constexpr unsigned all_lanes = 0xffffffffu;
}

TEST_CASE("planted: a lane reads what another wrote without __syncwarp, a shuffle in between") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(32);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[32], box);
              const int lane = int(threadIdx.x);
              box[lane] = lane;
              if (!planted) __syncwarp();
              const int other = __shfl_xor_sync(all_lanes, lane, 1);  // brings the lanes together, but orders nothing
              y[lane] = box[other];
            },
            {.grid = 1, .block = 32}, y.data(), planted);
        return y.download()[5] == 4;
      },
      {.race_checker = {Bug::race}, .says = "no barrier between this and the write"});
}

TEST_CASE("planted: a shuffle's mask names a lane that has exited") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (planted && threadIdx.x == 7) return;
              if (threadIdx.x != 7) __syncwarp(all_lanes & ~(1u << 7));
              (void)__shfl_sync(all_lanes, 1, 0);
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      // In the reverse and the random order lanes may wait for 7 before it exits.
      {.reported = {Bug::bad_lane, Bug::deadlock}, .says = "exited"});
}

TEST_CASE("planted: a shuffle's mask names a lane that waits elsewhere") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (!planted || threadIdx.x != 7) (void)__shfl_sync(all_lanes, 1, 0);
              __syncthreads();
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::deadlock}, .says = "31 in __shfl_sync"});
}

TEST_CASE("planted: a shuffle reads a lane outside its mask") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (threadIdx.x < 16) (void)__shfl_sync(0xffffu, 1, planted ? 20 : 12);
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::bad_lane}, .says = "reads lane 20"});
}

TEST_CASE("planted: a full mask in a warp of sixteen lanes") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              const bool last_warp = threadIdx.x >= 32;
              (void)__ballot_sync(last_warp && !planted ? 0xffffu : all_lanes, 1);
            },
            {.grid = 1, .block = 48}, planted);
        return true;
      },
      {.reported = {Bug::bad_lane}, .says = "does not exist"});
}

TEST_CASE("planted: half the lanes shuffle while the others vote") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (planted && threadIdx.x >= 16) {
                (void)__ballot_sync(all_lanes, 1);
              } else {
                (void)__shfl_sync(all_lanes, 1, 0);
              }
              if (!planted) (void)__ballot_sync(all_lanes, 1);
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::divergence}, .says = "lane"});
}

TEST_CASE("planted: lanes of one warp at two mma instructions") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              float c[4] = {};
              const std::uint32_t a[4] = {}, b[2] = {};
              if (planted && threadIdx.x < 8) {
                prim::mma_m16n8k16<bf16>(c, a, b);
              } else {
                prim::mma_m16n8k16<bf16>(c, a, b);
              }
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::divergence}, .says = "needs all lanes at one instruction"});
}

namespace {
template <bool>
void multiply_nothing() {
  float c[4] = {};
  prim::mma_m16n8k16<bf16>(c, {0, 0, 0, 0}, {0, 0});
}
}  // namespace

TEST_CASE("planted: lanes of one warp in two instantiations of a function with an mma") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              if (planted && threadIdx.x < 8) {
                multiply_nothing<true>();
              } else {
                multiply_nothing<false>();
              }
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::divergence}, .says = "needs all lanes at one instruction"});
}

TEST_CASE("planted: the registers of a B fragment are swapped") {
  check_planted(
      [](bool planted) {
        DeviceArray<float> y(128);
        launch(
            +[](float* y, bool planted) {
              IVL_SHARED(bf16[16][16], tile);  // tile[n][k] = 2^k for n < 8
              const int lane = int(threadIdx.x);
              for (int i = lane; i < 256; i += 32) tile[i / 16][i % 16] = round_to<bf16>(float(1 << i % 16));
              __syncwarp();
              std::uint32_t a[4], b[2];
              prim::ldmatrix<4>(a, &tile[lane % 16][8 * (lane / 16)]);
              prim::ldmatrix<2>(b, &tile[lane % 8][8 * (lane / 8 % 2)]);
              float c[4] = {};
              const std::uint32_t swapped[2] = {b[1], b[0]};
              prim::mma_m16n8k16<bf16>(c, a, planted ? swapped : b);
              for (int i = 0; i < 4; ++i) y[4 * lane + i] = c[i];
            },
            {.grid = 1, .block = 32}, y.data(), planted);
        // All entries are the sum of 4^k, in float.
        const std::vector<float> result = y.download();
        return std::all_of(result.begin(), result.end(), [](float c) { return std::abs(c - 0x1.5555555p30) < 256; });
      },
      {.wrong_values = true});
}

TEST_CASE("planted: an ldmatrix row that is not aligned") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              IVL_SHARED(uint4[33], tile);
              for (unsigned i = threadIdx.x; i < 33; i += 32) tile[i] = uint4{};
              __syncwarp();
              std::uint32_t a[1];
              prim::ldmatrix<1>(a, reinterpret_cast<const bf16*>(&tile[threadIdx.x]) + (planted ? 4 : 0));
            },
            {.grid = 1, .block = 32}, planted);
        return true;
      },
      {.reported = {Bug::misaligned}, .says = "16 bytes"});
}

TEST_CASE("planted: an ldmatrix row outside shared memory") {
  check_planted(
      [](bool planted) {
        DeviceArray<uint4> global(32);
        launch(
            +[](const uint4* global, bool planted) {
              IVL_SHARED(uint4[32], tile);
              tile[threadIdx.x] = uint4{};
              __syncwarp();
              std::uint32_t a[1];
              prim::ldmatrix<1>(a, planted ? &global[threadIdx.x] : &tile[threadIdx.x]);
            },
            {.grid = 1, .block = 32}, global.data(), planted);
        return true;
      },
      {.reported = {Bug::memory}, .says = "not in the block's shared memory"});
}
