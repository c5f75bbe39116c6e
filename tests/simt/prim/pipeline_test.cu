// cp.async, ldmatrix and mma together, as a matrix product uses them: a ring of stages, ragged edges filled with zeros.
// The same file runs in the emulator and on a GPU.
#include <cmath>
#include <random>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

constexpr int tile = 32, stages = 3, pitch = 40;  // 80 bytes a row: eight rows lie in different banks

struct Stage {
  bf16 a[tile][pitch], b[tile][pitch];
};

/// c [m][n] = a [m][k] * b [n][k] transposed; k a multiple of 8. One block of four warps makes a tile of 32 x 32, each
/// warp 16 x 16 of it.
__global__ void product_kernel(const bf16* a, const bf16* b, float* c, int m, int n, int k) {
  IVL_DYNAMIC_SHARED(memory);
  auto* const ring = reinterpret_cast<Stage*>(memory);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int row0 = int(blockIdx.y) * tile, column0 = int(blockIdx.x) * tile;
  const int steps = int((k + tile - 1) / tile);

  const auto fetch = [&](int step) {
    if (step < steps) {
      Stage& stage = ring[step % stages];
      const int row = thread / 4, chunk = thread % 4 * 8, at_k = step * tile + chunk;
      const bool has_a = row0 + row < m && at_k < k, has_b = column0 + row < n && at_k < k;
      cuda::prim::cp_async<16>(&stage.a[row][chunk], has_a ? &a[(row0 + row) * k + at_k] : a, has_a ? 16 : 0);
      cuda::prim::cp_async<16>(&stage.b[row][chunk], has_b ? &b[(column0 + row) * k + at_k] : b, has_b ? 16 : 0);
    }
    cuda::prim::cp_async_commit();
  };
  for (int step = 0; step < stages - 1; ++step) fetch(step);

  const int row = 16 * (warp / 2), column = 16 * (warp % 2);
  float sums[2][4] = {};
  for (int step = 0; step < steps; ++step) {
    cuda::prim::cp_async_wait<stages - 2>();
    __syncthreads();
    fetch(step + stages - 1);
    const Stage& stage = ring[step % stages];
    for (int at_k = 0; at_k < tile; at_k += 16) {
      std::uint32_t a_fragment[4], b_fragments[4];
      cuda::prim::ldmatrix(a_fragment, &stage.a[row + lane % 16][at_k + 8 * (lane / 16)]);
      cuda::prim::ldmatrix(b_fragments, &stage.b[column + lane % 8 + 8 * (lane / 16)][at_k + 8 * (lane / 8 % 2)]);
      cuda::prim::mma_m16n8k16<bf16>(sums[0], a_fragment, {b_fragments[0], b_fragments[1]});
      cuda::prim::mma_m16n8k16<bf16>(sums[1], a_fragment, {b_fragments[2], b_fragments[3]});
    }
  }
  cuda::prim::cp_async_wait_all();
  for (int part = 0; part < 2; ++part) {
    for (int i = 0; i < 4; ++i) {
      const int at_m = row0 + row + lane / 4 + 8 * (i / 2), at_n = column0 + column + 8 * part + 2 * (lane % 4) + i % 2;
      if (at_m < m && at_n < n) c[at_m * n + at_n] = sums[part][i];
    }
  }
}

}  // namespace

TEST_CASE("a matrix product through a ring of stages is right, also at ragged edges") {
  struct Sizes {
    int m, n, k;
  };
  for (const auto [m, n, k] : {Sizes{32, 32, 32}, Sizes{1, 1, 8}, Sizes{33, 70, 104}, Sizes{64, 64, 128}}) {
    CAPTURE(m);
    CAPTURE(n);
    CAPTURE(k);
    std::mt19937 random{unsigned(m)};
    std::uniform_int_distribution<int> small(-8, 8);  // sums are exact
    std::vector<bf16> a_values, b_values;
    for (int i = 0; i < m * k; ++i) a_values.push_back(round_to<bf16>(float(small(random))));
    for (int i = 0; i < n * k; ++i) b_values.push_back(round_to<bf16>(float(small(random))));
    std::vector<float> want;
    for (int i = 0; i < m * n; ++i) {
      float sum = 0;
      for (int l = 0; l < k; ++l) {
        sum += to_float(a_values[std::size_t(i / n * k + l)]) * to_float(b_values[std::size_t(i % n * k + l)]);
      }
      want.push_back(sum);
    }
    for_each_order([&] {
      DeviceArray<bf16> a(a_values), b(b_values);
      DeviceArray<float> c(want.size());
      const dim3 grid(unsigned(ceil_div(n, tile)), unsigned(ceil_div(m, tile)));
      cuda::launch(product_kernel, {.grid = grid, .block = 128, .shared_bytes = stages * int(sizeof(Stage))}, a.data(),
                   b.data(), c.data(), m, n, k);
      REQUIRE(c.download() == want);
    });
  }
}
