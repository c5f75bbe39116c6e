// Experts for up to 16 rows: decode. Part of moe.cuh, which says what is computed.
//
// Blocks follow the results, without sort or gather. In gate_up a block makes some columns for all rows that chose one
// expert, so that each chosen expert is read once; in down it makes some columns of one row, from all of its experts.
// Both run sm80_gemv.cuh's main loop, at its bandwidth: gate_up of the chosen experts comes once, down once a pair,
// from device memory or the second cache.
//
// What an expert makes of a row depends neither on the other rows nor on their number, up to 16.
//
// Registers at most 128 a thread, no spills. Goal on an H200: 88 % of the read bandwidth. With MXFP4 the instructions
// that dequantise are the limit: counted, they allow about two thirds of that. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/mxfp4.cuh"
#include "ivl/cuda/linear/sm80_gemv.cuh"
#include "ivl/cuda/moe/choose.hpp"
#include "ivl/cuda/moe/experts.cuh"
#include "ivl/cuda/prim/bf16_pairs.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/moe.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::gemv {

/// A lane's 16 bytes are one block: 32 numbers of a row.
template <>
struct Step<mxfp4::Codes> {
  static constexpr int x_loads = 4, depth = 4 * 8 * x_loads;
  using Scale = std::uint8_t;

  static __device__ void multiply(TileSums& sums, const uint4 (&x)[x_loads][2], const uint4& w, Scale scale) {
    // Scales that need a second product do not come up; where one does, the whole warp takes the longer way.
    if (__any_sync(whole_warp, mxfp4::Scale{scale}.large())) {
      multiply_block<true>(sums, x, w, mxfp4::Scale{scale});
    } else {
      multiply_block<false>(sums, x, w, mxfp4::Scale{scale});
    }
  }

 private:
  template <bool Large>
  static __device__ void multiply_block(TileSums& sums, const uint4 (&x)[x_loads][2], const uint4& w,
                                        mxfp4::Scale scale) {
    const std::uint32_t factor = scale.factor(), words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::uint32_t pairs[4];
      mxfp4::dequantise_word(words[i], factor, pairs);
      if constexpr (Large) {
        const std::uint32_t rest = scale.large() ? scale.rest() : one;
        for (std::uint32_t& pair : pairs) pair = prim::multiply_bf16_pairs(pair, rest);
      }
      const uint4 &upper = x[i][0], &lower = x[i][1];
      const std::uint32_t a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
      const std::uint32_t b[2][2] = {{pairs[0], pairs[1]}, {pairs[2], pairs[3]}};
#pragma unroll
      for (int j = 0; j < 2; ++j) prim::mma_m16n8k16<bf16>(sums.chains[j], a[j], b[j]);
    }
  }
  static constexpr std::uint32_t one = 0x3f803f80u;
};

}  // namespace detail::gemv

namespace detail::few {

/// Walks over a lane's 16 bytes of W and their scales, step by step.
template <class Stored>
class LaneWeights {
 public:
  static constexpr bool coded = std::is_same_v<Stored, mxfp4::Codes>;
  static constexpr int numbers = gemv::Step<Stored>::depth / 4, stored = coded ? numbers / 2 : numbers;  // of 16 bytes

  /// Of the rows `row`, `row` + 8, ... of the expert's matrix, as far as there are any; from `first_k` on, every
  /// `turn`-th of k.
  __device__ LaneWeights(const experts::Matrices& w, int expert, int row, int first_k, int turn)
      : k_(first_k), turn_(turn), in_(w.in), rows_(w.out - row) {
    data_ = w.row<Stored>(expert, row) + first_k / numbers * stored;
    if constexpr (coded) scales_ = w.scales(expert, row) + first_k / mxfp4_block;
  }
  __device__ void advance() {
    data_ += turn_ / numbers * stored;
    if constexpr (coded) scales_ += turn_ / mxfp4_block;
    k_ += turn_;
  }
  __device__ bool inside(int tile) const { return k_ < in_ && tile * gemv::tile_columns < rows_; }
  __device__ gemv::LaneSource codes(int tile) const {
    return {data_ + tile * gemv::tile_columns * std::int64_t(in_ / numbers * stored), inside(tile)};
  }
  __device__ typename gemv::Step<Stored>::Scale scale(int tile) const {
    if constexpr (coded) {
      if (inside(tile)) return scales_[tile * gemv::tile_columns * std::int64_t(in_ / mxfp4_block)];
    }
    return {};
  }

 private:
  const Stored* data_;
  const std::uint8_t* scales_;
  int k_, turn_, in_, rows_;
};

/// multiply_steps for the warps that share a matrix: warp `part` of `parts`. x_rows are the lane's rows of x, or null.
template <class Stored, int Rows, int Tiles, int Stages>
__device__ inline void multiply_expert(const experts::Matrices& w, int expert, int first_column, int part, int parts,
                                       uint4 (&ring)[Stages][Tiles][32], const bf16* const (&x_rows)[2],
                                       gemv::TileSums (&sums)[Tiles]) {
  constexpr int depth = gemv::Step<Stored>::depth;
  const int group = int(threadIdx.x) % 32 / 4, place = int(threadIdx.x) % 4;
  const int first_k = part * depth + place * (depth / 4), turn = parts * depth;
  LaneWeights<Stored> codes(w, expert, first_column + group, first_k, turn), scales = codes;
  const auto w_at = [&](int, int tile) {
    const gemv::LaneSource source = codes.codes(tile);
    if (tile == Tiles - 1) codes.advance();
    return source;
  };
  const auto scale_at = [&](int, int tile) {
    const auto scale = scales.scale(tile);
    if (tile == Tiles - 1) scales.advance();
    return scale;
  };
  const int steps = (w.in + depth - 1) / depth;
  gemv::multiply_steps<Stored, Rows>((steps - part + parts - 1) / parts, ring, w_at, scale_at,
                                     gemv::LaneRows(x_rows[0], x_rows[1], first_k, turn, w.in), sums);
}

/// inner = act(gate_up x): a block makes some columns for all rows of one expert. Block (c, p) does so for the expert
/// of pair p, unless a pair before p has the same one.
template <class Stored, class Policy>
__global__ void __launch_bounds__(32 * gemv::warps, Policy::value.blocks_per_sm)
    few_gate_up_kernel(const bf16* __restrict__ x, std::int64_t x_stride, experts::Matrices w,
                       ExpertActivation activation, const std::int32_t* __restrict__ experts, int pairs, int active,
                       bf16* inner, std::int64_t inner_stride) {
  constexpr GemvPolicy P = Policy::value;
  constexpr int columns = P.tiles * gemv::tile_columns;
  IVL_SHARED(uint4[gemv::warps][P.stages][P.tiles][32], rings);
  IVL_SHARED(float[gemv::warps][P.rows][columns], partial);
  IVL_SHARED(int[P.rows], members);  // pairs of the block's expert, one a row
  IVL_SHARED(int, member_count);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, group = lane / 4;
  const int pair = int(blockIdx.y), expert = experts[pair];
  if (warp == 0) {
    int count = 0;
    for (int base = 0; base < pairs; base += 32) {
      const bool member = base + lane < pairs && experts[base + lane] == expert;
      const unsigned mask = __ballot_sync(whole_warp, member);
      if (member) members[count + __popc(mask & ((1u << lane) - 1))] = base + lane;
      count += __popc(mask);
    }
    if (lane == 0) member_count = count;
  }
  __syncthreads();
  const int rows = member_count;
  if (members[0] != pair) return;

  const bf16* x_rows[2] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int member = group + 8 * half;
    if (member < rows) x_rows[half] = x + members[member] / active * x_stride;
  }
  const int first_column = int(blockIdx.x) * columns;
  gemv::TileSums sums[P.tiles];
  multiply_expert<Stored, P.rows>(w, expert, first_column, warp, gemv::warps, rings[warp], x_rows, sums);
  gemv::store_sums(sums, rows, partial[warp]);
  __syncthreads();
  gemv::add_warps(partial, rows, [&](int row, int column, float2 total) {
    column += first_column;
    if (column >= w.out) return;
    const float gate = total.x + w.bias_of(expert, column), up = total.y + w.bias_of(expert, column + 1);
    inner[members[row] * inner_stride + column / 2] = prim::narrow<bf16>(experts::activate(activation, gate, up));
  });
}

/// y += sum over the row's experts of weight (down inner + bias): a block makes some columns of one row. Its warps
/// share the row's experts; where these are fewer, two or more warps share one.
template <class Stored, class Policy>
__global__ void __launch_bounds__(32 * gemv::warps, Policy::value.blocks_per_sm)
    few_down_kernel(const bf16* __restrict__ inner, std::int64_t inner_stride, experts::Matrices w,
                    const std::int32_t* __restrict__ experts, const float* __restrict__ weights, int active, bf16* y,
                    std::int64_t y_stride) {
  constexpr GemvPolicy P = Policy::value;
  constexpr int columns = P.tiles * gemv::tile_columns;
  IVL_SHARED(uint4[gemv::warps][P.stages][P.tiles][32], rings);
  IVL_SHARED(float[gemv::warps][1][columns], partial);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, group = lane / 4, place = lane % 4;
  const int row = int(blockIdx.y), first_column = int(blockIdx.x) * columns;
  const std::int64_t first_pair = std::int64_t(row) * active;
  const int parts = max(gemv::warps / active, 1);

  float2 totals[P.tiles] = {};
  for (int e = warp / parts; e < active; e += gemv::warps) {
    const std::int64_t pair = first_pair + e;
    const bf16* const x_rows[2] = {group == 0 ? inner + pair * inner_stride : nullptr, nullptr};
    gemv::TileSums sums[P.tiles];
    multiply_expert<Stored, P.rows>(w, experts[pair], first_column, warp % parts, parts, rings[warp], x_rows, sums);
    const float weight = weights[pair];
#pragma unroll
    for (int t = 0; t < P.tiles; ++t)
      totals[t] = {fmaf(weight, sums[t][0], totals[t].x), fmaf(weight, sums[t][1], totals[t].y)};
  }
#pragma unroll
  for (int t = 0; t < P.tiles; ++t) {
    if (group == 0) *reinterpret_cast<float2*>(&partial[warp][0][t * gemv::tile_columns + 2 * place]) = totals[t];
  }
  __syncthreads();
  gemv::add_warps(partial, 1, [&](int, int column, float2 sum) {
    const float both[2] = {sum.x, sum.y};
    for (int i = 0; i < 2; ++i) {
      const int at = first_column + column + i;
      if (at >= w.out) continue;
      float value = both[i];
      for (int e = 0; w.bias && e < active; ++e)
        value = fmaf(weights[first_pair + e], w.bias_of(experts[first_pair + e], at), value);
      bf16& result = y[row * y_stride + at];
      result = prim::narrow<bf16>(prim::widen(result) + value);
    }
  });
}

template <class Stored>
void run(Context& ctx, const ExpertMlp& mlp, Rows<const bf16> x, const Routes& routes, Rows<bf16> inner, Rows<bf16> y) {
  const experts::Matrices gate_up(*mlp.gate_up, mlp.gate_up_bias), down(*mlp.down, mlp.down_bias);
  const int pairs = int(x.count) * routes.active;
  const auto blocks = [](const experts::Matrices& w, const GemvPolicy& p, std::int64_t high) {
    return dim3(unsigned(ceil_div(w.out, p.tiles * gemv::tile_columns)), unsigned(high));
  };
  constexpr unsigned threads = 32 * gemv::warps;
  constexpr GemvPolicy of_down = std::is_same_v<Stored, mxfp4::Codes> ? few_down_codes : few_down;
  launch(few_gate_up_kernel<Stored, Constant<few_gate_up>>,
         {.grid = blocks(gate_up, few_gate_up, pairs), .block = threads, .stream = ctx.stream}, x.data, x.stride,
         gate_up, mlp.activation, routes.experts, pairs, routes.active, inner.data, inner.stride);
  launch(few_down_kernel<Stored, Constant<of_down>>,
         {.grid = blocks(down, of_down, x.count), .block = threads, .stream = ctx.stream}, inner.data, inner.stride,
         down, routes.experts, routes.weights, routes.active, y.data, y.stride);
}

}  // namespace detail::few

}  // namespace ivl::IVL_CUDA
