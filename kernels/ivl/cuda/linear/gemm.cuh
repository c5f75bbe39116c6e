// y = epilogue(x W^T) for many rows, on tensor cores (mma.sync m16n8k16; see ops/linear.hpp for the contract).
//
//   x [rows, in]  bf16     W [out, in]  bf16 or half     y [rows, out]  bf16 or float; [rows, out / 2] under swi_glu
//   in            a multiple of 4; rows of x and W 8-byte aligned
//
// 2 rows out in flops; device memory moves at least 2 (rows in + out in) bytes and y.
//
// A block makes a tile of y; its warps hold the sums in registers. Tiles of x and W of 64 columns come to shared memory
// by cp.async, `stages` in a ring: while one is multiplied, the others are on their way. There is one barrier a stage,
// and the fragments of a step of 16 are loaded while the step before is multiplied. A row of a stage is 128 bytes, all
// banks once; its 16-byte chunks lie exclusive-or'ed with the row's number, so that neither ldmatrix nor cp.async
// meets a bank twice. The sums leave through shared memory, so that y is read and written in packs.
//
// Half weights meet bf16 rows without a rounding: each is the sum of two bf16, which are multiplied one after the
// other, at half the speed.
//
// Invariance: the sum of one y runs over `in` in steps of 16, in order, in every policy; zeros behind its end change
// nothing. So a row's bits depend neither on the number of rows nor on the policy. gemv.cuh, for few rows, adds in
// another order: see linear.cuh for where that shows.
//
// Limits on paper, H100, cycles of an SM for a tile's step of 16, on all four tensor cores. mma.sync reaches about 0.62
// of the 989 TFLOP/s that wgmma has there, which is 6.4 cycles an mma; shared memory moves 128 bytes a cycle, the
// second cache about 39 an SM.
//
//   policy   tile       mma   shared memory   second cache
//   tall     128 x 256  410             352            315
//   square   128 x 128  205             192            210
//   narrow    64 x  64   51              96            105
//
// A stage of `tall` is 128 mma a warp beside 32 ldmatrix, 12 cp.async and about 70 other instructions. At K = 1024 the
// epilogue, which nothing hides there, is a tenth of a block's time; of square blocks two share an SM, and one's
// epilogue hides behind the other's products. Narrow ones are for few rows: their deep ring waits for W, not for mma.
//
// Registers at most 255 a thread, no spills. Goal: at least 85 % of what mma.sync can reach. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/runtime/split_halves.cuh"
#include "ivl/ops/linear.hpp"

namespace ivl::cuda {

// ---- policy -----------------------------------------------------------------------------------------
struct GemmPolicy {
  int rows, columns;            // of a block's tile
  int warp_rows, warp_columns;  // of a warp's
  int stages;
  int blocks_per_sm;  // that registers and shared memory have room for

  constexpr int threads() const { return rows / warp_rows * (columns / warp_columns) * 32; }
  constexpr bool operator==(const GemmPolicy&) const = default;
};

inline constexpr GemmPolicy tall_gemm{
    .rows = 128, .columns = 256, .warp_rows = 64, .warp_columns = 64, .stages = 3, .blocks_per_sm = 1};
inline constexpr GemmPolicy square_gemm{
    .rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 64, .stages = 3, .blocks_per_sm = 2};
inline constexpr GemmPolicy narrow_gemm{
    .rows = 64, .columns = 64, .warp_rows = 32, .warp_columns = 32, .stages = 6, .blocks_per_sm = 2};
/// Half weights: twice the products, so half the reuse will do; the parts of a fragment need the registers.
inline constexpr GemmPolicy half_gemm{
    .rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 32, .stages = 3, .blocks_per_sm = 1};

namespace detail {

/// Cycles of an SM for a tile's step of 16, by the page top: the most of mma, shared memory and second cache.
constexpr double step_cycles(const GemmPolicy& p) {
  const double mma = p.rows * p.columns / (16 * 8) * 6.4 / 4;
  const double loaded = 32.0 * (p.rows + p.columns);
  const double read = 32.0 * (p.threads() / 32) * (p.warp_rows + p.warp_columns);
  return std::max({mma, (loaded + read) / 128, loaded / 39});
}

/// Cycles of an SM for a tile: its steps, and the way of its sums out (4 bytes each into shared memory and from there,
/// and up to 4 of y), as far as nothing hides it.
constexpr double tile_cycles(const GemmPolicy& p, std::int64_t in) {
  return double(in) / 16 * step_cycles(p) + 12.0 * p.rows * p.columns / 128 / p.blocks_per_sm;
}

}  // namespace detail

/// The policy whose busiest SM is done first, on paper. Never changes a result.
constexpr GemmPolicy gemm_policy_for(std::int64_t rows, std::int64_t out, std::int64_t in, int sms) {
  const auto cycles = [=](const GemmPolicy& p) {
    const std::int64_t tiles = ceil_div(rows, p.rows) * ceil_div(out, p.columns);
    return double(ceil_div(tiles, sms)) * detail::tile_cycles(p, in);
  };
  GemmPolicy best = tall_gemm;
  for (const GemmPolicy& p : {square_gemm, narrow_gemm}) {
    if (cycles(p) < cycles(best)) best = p;
  }
  return best;
}

// ---- device code ------------------------------------------------------------------------------------
namespace detail {

/// Columns of x and W in a stage.
inline constexpr int stage_depth = 64;

/// Where the chunk of 8 scalars of a stage's row begins.
__device__ inline int chunk_offset(int row, int chunk) { return row * stage_depth + (chunk ^ row % 8) * 8; }

/// Brings TileRows rows of a matrix to a stage, CopyBytes at a time, and zeros for what lies outside of it.
template <class Scalar, int TileRows, int Threads, int CopyBytes>
class StageLoader {
 public:
  static constexpr int scalars = CopyBytes / int(sizeof(Scalar)), rows_at_once = Threads * scalars / stage_depth;
  static constexpr int copies = TileRows / rows_at_once;  // of a thread
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0, "StageLoader: the swizzle must be every copy's");

  /// Of `matrix`, which begins at the tile's first row, there are `rows` rows and `depth` columns.
  __device__ StageLoader(const Scalar* matrix, std::int64_t stride, int rows, int depth) {
    const int row = int(threadIdx.x) * scalars / stage_depth, column = int(threadIdx.x) * scalars % stage_depth;
    from_ = matrix + row * stride + column;
    step_ = rows_at_once * stride;
    rows_ = rows - row;
    depth_ = depth - column;
    to_ = chunk_offset(row, column / 8) + column % 8;
  }
  __device__ void copy(Scalar* stage, int number) const {
    const bool inside = number * rows_at_once < rows_ && depth_ > 0;
    prim::cp_async<CopyBytes>(stage + to_ + number * rows_at_once * stage_depth, from_ + number * step_,
                              inside ? CopyBytes : 0);
  }
  /// To the next stage_depth columns.
  __device__ void advance() {
    from_ += stage_depth;
    depth_ -= stage_depth;
  }

 private:
  const Scalar* from_;
  std::int64_t step_;
  int rows_, depth_, to_;
};

struct TilePlace {
  int row, column;  // in tiles
};

/// Blocks that run at the same time share rows of x and W in the second cache: bands of 8 tiles' height, column by
/// column.
__device__ inline TilePlace place_of(int block, int tile_rows, int tile_columns) {
  constexpr int band = 8;
  const int first = block / (band * tile_columns) * band, height = min(band, tile_rows - first);
  const int in_band = block - first * tile_columns;
  return {first + in_band % height, in_band / height};
}

template <class Weight, class Result>
struct GemmOperands {
  const bf16* x;  // [rows, in]
  std::int64_t x_stride;
  const Weight* w;  // [out, in]
  int in;
  EpilogueTarget<Result> target;
};

template <class Weight, class Policy>
struct GemmTile {
  using Stored = Weight;
  static constexpr GemmPolicy p = Policy::value;
  static constexpr int threads = p.threads();
  static constexpr int x_scalars = p.rows * stage_depth, w_scalars = p.columns * stage_depth;  // of a stage
  static constexpr int stage_bytes = (x_scalars + w_scalars) * 2;
  // 8 more than whole turns of the banks: the rows of a fragment lie in different ones.
  static constexpr int sums_pitch = p.columns + 8;
  static constexpr int sums_bytes = p.rows * sums_pitch * int(sizeof(float));
  static constexpr int shared_bytes = std::max(p.stages * stage_bytes, sums_bytes);
  static_assert(p.stages >= 2, "GemmPolicy: stages must be at least 2, one to read and one to fill");
  static_assert(MultipleOf<p.rows, p.warp_rows> && MultipleOf<p.columns, p.warp_columns>,
                "GemmPolicy: a tile must be whole warps' tiles");
  static_assert(MultipleOf<p.warp_rows, 16> && MultipleOf<p.warp_columns, 16>,
                "GemmPolicy: a warp's tile must be whole fragments");
};

/// Multiplies the tile that the loaders bring, a StageLoader or one with its interface each. Its sums lie as floats
/// [p.rows][Tile::sums_pitch] at `memory` when all threads are back; they call it together.
template <class Tile, class XLoader, class WLoader>
__device__ inline void multiply_tile(unsigned char* memory, XLoader& x, WLoader& w, int in) {
  using Weight = typename Tile::Stored;
  constexpr GemmPolicy p = Tile::p;
  constexpr int steps = stage_depth / 16, row_fragments = p.warp_rows / 16, column_fragments = p.warp_columns / 8;
  const auto x_stage = [&](int slot) { return reinterpret_cast<bf16*>(memory + slot * Tile::stage_bytes); };
  const auto w_stage = [&](int slot) {
    return reinterpret_cast<Weight*>(memory + slot * Tile::stage_bytes) + Tile::x_scalars;
  };
  constexpr int copies = XLoader::copies + WLoader::copies;
  const int stages = (in + stage_depth - 1) / stage_depth;
  int fetched = 0, fetch_slot = 0;
  // Part of `parts` of the next stage's copies; the last one closes it. Behind the last stage it is empty.
  const auto fetch = [&](int part, int parts) {
    if (fetched < stages) {
#pragma unroll
      for (int i = 0; i < copies; ++i) {
        if (i < copies * part / parts || i >= copies * (part + 1) / parts) continue;
        i < XLoader::copies ? x.copy(x_stage(fetch_slot), i) : w.copy(w_stage(fetch_slot), i - XLoader::copies);
      }
    }
    if (part + 1 == parts) {
      prim::cp_async_commit();
      x.advance();
      w.advance();
      ++fetched;
      fetch_slot = fetch_slot + 1 < p.stages ? fetch_slot + 1 : 0;
    }
  };

  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  constexpr int warps_a_row = p.columns / p.warp_columns;
  const int warp_row = warp / warps_a_row * p.warp_rows, warp_column = warp % warps_a_row * p.warp_columns;
  float sums[row_fragments][column_fragments][4] = {};
  std::uint32_t x_fragments[2][row_fragments][4];
  std::uint32_t w_fragments[2][column_fragments][2];

  const auto load_fragments = [&](int buffer, int slot, int step) {
    const bf16* from = x_stage(slot) + chunk_offset(warp_row + lane % 16, 2 * step + lane / 16);
#pragma unroll
    for (int i = 0; i < row_fragments; ++i) prim::ldmatrix(x_fragments[buffer][i], from + i * 16 * stage_depth);
    const Weight* w_from =
        w_stage(slot) + chunk_offset(warp_column + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2);
#pragma unroll
    for (int i = 0; i < column_fragments; i += 2) {
      std::uint32_t pair[4];
      prim::ldmatrix(pair, w_from + i * 8 * stage_depth);
      w_fragments[buffer][i][0] = pair[0];
      w_fragments[buffer][i][1] = pair[1];
      w_fragments[buffer][i + 1][0] = pair[2];
      w_fragments[buffer][i + 1][1] = pair[3];
    }
  };
  const auto multiply = [&](int buffer) {
#pragma unroll
    for (int j = 0; j < column_fragments; ++j) {
      const std::uint32_t(&fragment)[2] = w_fragments[buffer][j];
      if constexpr (std::is_same_v<Weight, half>) {
        std::uint32_t high[2], low[2];
        split_halves(fragment[0], high[0], low[0]);
        split_halves(fragment[1], high[1], low[1]);
#pragma unroll
        for (int i = 0; i < row_fragments; ++i) prim::mma_m16n8k16<bf16>(sums[i][j], x_fragments[buffer][i], high);
#pragma unroll
        for (int i = 0; i < row_fragments; ++i) prim::mma_m16n8k16<bf16>(sums[i][j], x_fragments[buffer][i], low);
      } else {
#pragma unroll
        for (int i = 0; i < row_fragments; ++i) prim::mma_m16n8k16<bf16>(sums[i][j], x_fragments[buffer][i], fragment);
      }
    }
  };

#pragma unroll
  for (int stage = 0; stage < p.stages - 1; ++stage) fetch(0, 1);
  prim::cp_async_wait<p.stages - 2>();
  __syncthreads();
  int slot = 0;
  load_fragments(0, slot, 0);
  for (int stage = 0; stage < stages; ++stage) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      if (step + 1 < steps) {
        load_fragments((step + 1) % 2, slot, step + 1);
        fetch(step, steps - 1);
      } else if (stage + 1 < stages) {
        // The next stage is there for everyone, and nobody reads this one any more: the next fetch may fill it.
        prim::cp_async_wait<p.stages - 2>();
        __syncthreads();
        slot = slot + 1 < p.stages ? slot + 1 : 0;
        load_fragments((step + 1) % 2, slot, 0);
      }
      multiply(step % 2);
    }
  }

  __syncthreads();  // nobody reads a stage any more; the sums take their place
  auto* const tile = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int i = 0; i < row_fragments; ++i) {
#pragma unroll
    for (int j = 0; j < column_fragments; ++j) {
#pragma unroll
      for (int half_rows = 0; half_rows < 2; ++half_rows) {
        const int row = warp_row + 16 * i + 8 * half_rows + lane / 4, column = warp_column + 8 * j + lane % 4 * 2;
        *reinterpret_cast<float2*>(tile + row * Tile::sums_pitch + column) = {sums[i][j][2 * half_rows],
                                                                              sums[i][j][2 * half_rows + 1]};
      }
    }
  }
  __syncthreads();
}

template <class Weight, class Result, int CopyBytes, class Policy>
__global__ void __launch_bounds__(GemmTile<Weight, Policy>::threads, GemmTile<Weight, Policy>::p.blocks_per_sm)
    gemm_kernel(GemmOperands<Weight, Result> operands) {
  using Tile = GemmTile<Weight, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);

  const int out = operands.target.out, in = operands.in;
  const TilePlace place =
      place_of(int(blockIdx.x), (operands.target.rows + p.rows - 1) / p.rows, (out + p.columns - 1) / p.columns);
  const int first_row = place.row * p.rows, first_column = place.column * p.columns;
  StageLoader<bf16, p.rows, Tile::threads, CopyBytes> x(operands.x + first_row * operands.x_stride, operands.x_stride,
                                                        operands.target.rows - first_row, in);
  StageLoader<Weight, p.columns, Tile::threads, CopyBytes> w(operands.w + first_column * std::int64_t(in), in,
                                                             out - first_column, in);
  multiply_tile<Tile>(memory, x, w, in);
  const auto* const tile = reinterpret_cast<const float*>(memory);
  finish_tile<p.rows, p.columns, Tile::sums_pitch, Tile::threads>(tile, first_row, first_column, operands.target);
}

template <GemmPolicy P, int CopyBytes, class Weight, class Result>
void launch_gemm(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  using Tile = GemmTile<Weight, Constant<P>>;
  const std::int64_t tiles = ceil_div(x.count, P.rows) * ceil_div(w.out, P.columns);
  launch(gemm_kernel<Weight, Result, CopyBytes, Constant<P>>,
         {.grid = unsigned(tiles),
          .block = unsigned(Tile::threads),
          .shared_bytes = Tile::shared_bytes,
          .stream = ctx.stream},
         GemmOperands<Weight, Result>{x.data, x.stride, reinterpret_cast<const Weight*>(w.memory().data), int(w.in),
                                      EpilogueTarget<Result>(epilogue, y, int(w.out))});
}

/// Whether all rows of x and W are whole copies of so many scalars.
template <int Scalars>
bool whole_copies(Rows<const bf16> x, const PlacedMatrix& w) {
  return in_packs<Scalars>(x) && w.in % Scalars == 0 && aligned(w.memory().data, Scalars * 2);
}

}  // namespace detail

// ---- launchers --------------------------------------------------------------------------------------
/// Whether `gemm` takes these: a matrix of 2-byte scalars, and rows of 8-byte copies.
inline bool gemm_takes(Rows<const bf16> x, const PlacedMatrix& w) {
  return (w.format() == Format::bf16 || w.format() == Format::f16) && detail::whole_copies<4>(x, w);
}

/// With policy P; but half weights, and rows that are no whole 16-byte copies, have one of their own. x and w must be
/// such as gemm_takes.
template <GemmPolicy P, class Result>
void gemm(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  assert(gemm_takes(x, w));
  if (x.count == 0 || w.out == 0) return;
  if (w.format() == Format::f16) return detail::launch_gemm<half_gemm, 8, half>(ctx, x, w, epilogue, y);
  // Such as the 588 scalars of a patch of 14 x 14 pixels.
  if (!detail::whole_copies<8>(x, w)) return detail::launch_gemm<square_gemm, 8, bf16>(ctx, x, w, epilogue, y);
  detail::launch_gemm<P, 16, bf16>(ctx, x, w, epilogue, y);
}

/// With the policy of gemm_policy_for.
template <class Result>
void gemm(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const GemmPolicy best = gemm_policy_for(x.count, w.out, w.in, ctx.device.sms);
  if (best == tall_gemm) return gemm<tall_gemm>(ctx, x, w, epilogue, y);
  if (best == square_gemm) return gemm<square_gemm>(ctx, x, w, epilogue, y);
  return gemm<narrow_gemm>(ctx, x, w, epilogue, y);
}

}  // namespace ivl::cuda
