// y = epilogue(x W^T): which kernel makes it (see ops/linear.hpp for the contract).
//
//   x      W           rows      kernel
//   bf16   bf16, half  up to 16  gemv.cuh, unless the context wants invariant order
//   bf16   bf16, half  any       gemm.cuh
//   any    any         any       plain, below, where x or W is float
//
// norm_linear: a few rows that gemv takes, with W in bf16, are normed there; the others by a launch of rms_norm. Both
// make the same bits.
//
// Invariance: in every kernel a row's bits depend on the row, W and `in`. gemv and gemm add in different orders,
// though, so a row of a small batch may differ in its last bit from the same row of a larger one. Order::invariant
// leaves gemv out: then no number of rows changes a bit, and decoding few rows is slower.
//
// The plain kernel: registers at most 128 a thread, no spills; made to be right and small, not fast.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/error.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/gemm.cuh"
#include "ivl/cuda/linear/gemv.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm_linear.hpp"

namespace ivl::cuda {

// ---- device code: products with floats --------------------------------------------------------------
namespace detail {

inline constexpr int plain_tile = 64, plain_depth = 16, plain_threads = 256;

/// Rows [first, first + plain_tile) and columns [k, k + plain_depth) of a matrix [rows, width] become floats, one row
/// of the tile a column of `to`; zeros outside.
template <class Scalar>
__device__ inline void load_plain(const Scalar* matrix, std::int64_t stride, int first, int rows, int k, int width,
                                  float (&to)[plain_depth][plain_tile + 4]) {
  constexpr int rows_at_once = plain_threads / plain_depth;
  const int column = int(threadIdx.x) % plain_depth;
#pragma unroll
  for (int row = int(threadIdx.x) / plain_depth; row < plain_tile; row += rows_at_once) {
    const bool inside = first + row < rows && k + column < width;
    to[column][row] = inside ? prim::widen(matrix[(first + row) * stride + k + column]) : 0.0f;
  }
}

/// A block makes a tile of 64 x 64, a thread 4 x 4 of it, in fused multiply-adds in the order of `in`.
template <class Scalar, class Weight, class Result>
__global__ void __launch_bounds__(plain_threads)
    plain_kernel(const Scalar* __restrict__ x, std::int64_t x_stride, const Weight* __restrict__ w, int in,
                 EpilogueTarget<Result> target) {
  constexpr int part = 4, threads_a_row = plain_tile / part, pitch = plain_tile + 8;
  IVL_SHARED(float[plain_depth][plain_tile + 4], x_tile);
  IVL_SHARED(float[plain_depth][plain_tile + 4], w_tile);
  IVL_SHARED(float[plain_tile * pitch], tile);
  using Part = Pack<float, part>;
  const int tile_columns = (target.out + plain_tile - 1) / plain_tile;
  const int first_row = int(blockIdx.x) / tile_columns * plain_tile;
  const int first_column = int(blockIdx.x) % tile_columns * plain_tile;
  const int row = int(threadIdx.x) / threads_a_row * part, column = int(threadIdx.x) % threads_a_row * part;

  float sums[part][part] = {};
  for (int k = 0; k < in; k += plain_depth) {
    load_plain(x, x_stride, first_row, target.rows, k, in, x_tile);
    load_plain(w, in, first_column, target.out, k, in, w_tile);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < plain_depth; ++i) {
      const Part x_part = *reinterpret_cast<const Part*>(&x_tile[i][row]);
      const Part w_part = *reinterpret_cast<const Part*>(&w_tile[i][column]);
#pragma unroll
      for (int r = 0; r < part; ++r) {
#pragma unroll
        for (int c = 0; c < part; ++c) sums[r][c] = fmaf(x_part.values[r], w_part.values[c], sums[r][c]);
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < part; ++r) {
    *reinterpret_cast<Part*>(&tile[(row + r) * pitch + column]) = {sums[r][0], sums[r][1], sums[r][2], sums[r][3]};
  }
  __syncthreads();
  finish_tile<plain_tile, plain_tile, pitch, plain_threads>(tile, first_row, first_column, target);
}

template <class Weight, class Scalar, class Result>
void plain(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  if (x.count == 0 || w.out == 0) return;
  const std::int64_t tiles = ceil_div(x.count, plain_tile) * ceil_div(w.out, plain_tile);
  launch(plain_kernel<Scalar, Weight, Result>, {.grid = unsigned(tiles), .block = plain_threads, .stream = ctx.stream},
         x.data, x.stride, reinterpret_cast<const Weight*>(w.memory().data), int(w.in),
         EpilogueTarget<Result>(epilogue, y, int(w.out)));
}

template <class Scalar, class Result>
void check_linear(Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  const std::int64_t width = gated ? w.out / 2 : w.out;
  if (w.in <= 0 || x.width() != w.in || y.count != x.count || y.width() != width) {
    fail<RequestError>("linear on CUDA: with a matrix [", w.out, ", ", w.in, "] expected x [", x.count, ", ", w.in,
                       "] and y [", x.count, ", ", width, "], found x [", x.count, ", ", x.width(), "] and y [",
                       y.count, ", ", y.width(), "]");
  }
  if (gated != (w.fusion == Fusion::interleaved))
    fail<RequestError>("linear on CUDA: swi_glu goes with interleaved rows of gate and up, and with nothing else");
  if (!w.uniform() || (w.format() != Format::f32 && w.format() != Format::bf16 && w.format() != Format::f16))
    fail<RequestError>("linear on CUDA: expected a matrix in one format, f32, bf16 or f16, found ", formats_of(w));
}

inline bool gemv_takes(const Context& ctx, Rows<const bf16> x, const PlacedMatrix& w) {
  const bool whole_steps = w.in % 16 == 0 && x.stride % 8 == 0 && aligned(x.data, 16);
  return x.count <= max_gemv_rows && whole_steps && ctx.order == Order::fastest;
}

}  // namespace detail

// ---- launchers --------------------------------------------------------------------------------------
/// bf16 rows must begin at multiples of 8 bytes and be whole groups of 4 scalars where W's scalars are 2 bytes long.
/// Throws RequestError otherwise, and where shapes do not fit together.
template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  detail::check_linear(x, w, epilogue, y);
  if constexpr (std::is_same_v<Scalar, bf16>) {
    if (w.format() == Format::f32) return detail::plain<float>(ctx, x, w, epilogue, y);
    if (!gemm_takes(x, w)) {
      fail<RequestError>("linear on CUDA: expected bf16 rows of whole groups of 4 scalars, 8-byte aligned, found ",
                         w.in, " scalars, ", x.stride, " from row to row, at ", x.data);
    }
    if (detail::gemv_takes(ctx, x, w)) return gemv(ctx, x, w, epilogue, y);
    gemm(ctx, x, w, epilogue, y);
  } else {
    if (w.format() == Format::f32) return detail::plain<float>(ctx, x, w, epilogue, y);
    if (w.format() == Format::bf16) return detail::plain<bf16>(ctx, x, w, epilogue, y);
    detail::plain<half>(ctx, x, w, epilogue, y);
  }
}

/// gain [in]. Throws RequestError as rms_norm and linear do.
template <class Result>
void norm_linear(Context& ctx, Rows<const bf16> x, const float* gain, float eps, const PlacedMatrix& w,
                 const Epilogue& epilogue, Rows<bf16> room, Rows<Result> y) {
  detail::check_linear(x, w, epilogue, y);
  const bool few = x.count <= max_normed_rows && x.count * w.in <= max_normed_scalars;
  if (few && w.format() == Format::bf16 && aligned(gain, 16) && detail::gemv_takes(ctx, x, w))
    return norm_gemv(ctx, x, gain, eps, w, epilogue, y);
  rms_norm(ctx, x, gain, eps, room);
  linear(ctx, Rows<const bf16>(room), w, epilogue, y);
}

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);
static_assert(NormLinearOp<Context, bf16> && NormLinearOp<Context, bf16, float>);

}  // namespace ivl::cuda
