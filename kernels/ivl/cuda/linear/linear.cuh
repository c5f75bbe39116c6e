// y = epilogue(x W^T) (see ops/linear.hpp for the contract): choose.hpp says which kernel makes it, sm80_gemv.cuh,
// sm80_gemm.cuh or `plain`, below, where x is float and for formats that the others have no loader for. A matrix whose
// strips differ in format is a product for each of them.
//
// norm_linear: a few rows that gemv takes, with W in bf16, are normed there; the others by a launch of rms_norm. Both
// make the same bits.
//
// Invariance: in every kernel a row's bits depend on the row, W and `in`. Order::invariant, the default of Context,
// leaves out the one kernel that adds in another order: then no number of rows changes a bit.
//
// The plain kernel: registers at most 128 a thread, no spills; made to be right and small, not fast.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/error.hpp"
#include "ivl/cuda/formats/formats.cuh"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/sm80_coded_gemv.cuh"
#include "ivl/cuda/linear/sm80_gemm.cuh"
#include "ivl/cuda/linear/sm80_gemv.cuh"
#include "ivl/cuda/linear/sm80_scaled_gemm.cuh"
#include "ivl/cuda/linear/unpack.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm_linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code: products of any scalars and formats --------------------------------------------------------------
namespace detail::plain_linear {

inline constexpr int tile_size = 64, depth = 16, threads = 256;

/// Rows [first, first + tile_size) and columns [k, k + depth) of a matrix [rows, width] become floats, one row of the
/// tile a column of `to`; zeros outside. at(row, column) is one element.
template <class At>
__device__ inline void load_tile(const At& at, int first, int rows, int k, int width,
                                 float (&to)[depth][tile_size + 4]) {
  constexpr int rows_at_once = threads / depth;
  const int column = int(threadIdx.x) % depth;
#pragma unroll
  for (int row = int(threadIdx.x) / depth; row < tile_size; row += rows_at_once) {
    const bool inside = first + row < rows && k + column < width;
    to[column][row] = inside ? at(first + row, k + column) : 0.0f;
  }
}

/// A block makes a tile of 64 x 64, a thread 4 x 4 of it, in fused multiply-adds in the order of `in`.
template <class Scalar, class Result>
__global__ void __launch_bounds__(threads) plain_linear_kernel(const Scalar* __restrict__ x, std::int64_t x_stride,
                                                               AnyMatrix w, epilogue::Target<Result> target) {
  constexpr int part = 4, threads_a_row = tile_size / part, pitch = tile_size + 8;
  IVL_SHARED(float[depth][tile_size + 4], x_tile);
  IVL_SHARED(float[depth][tile_size + 4], w_tile);
  IVL_SHARED(float[tile_size * pitch], tile);
  using Part = Pack<float, part>;
  const int tile_columns = (target.out + tile_size - 1) / tile_size;
  const int first_row = int(blockIdx.x) / tile_columns * tile_size;
  const int first_column = int(blockIdx.x) % tile_columns * tile_size;
  const int row = int(threadIdx.x) / threads_a_row * part, column = int(threadIdx.x) % threads_a_row * part;

  const auto x_at = [&](int r, int k) { return prim::widen(x[r * x_stride + k]); };
  const auto w_at = [&](int r, int k) { return w.at(r, k); };
  float sums[part][part] = {};
  for (int k = 0; k < w.in; k += depth) {
    load_tile(x_at, first_row, target.rows, k, w.in, x_tile);
    load_tile(w_at, first_column, target.out, k, w.in, w_tile);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < depth; ++i) {
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
  epilogue::finish_tile<tile_size, tile_size, pitch, threads>(tile, first_row, first_column, target);
}

template <class Scalar, class Result>
void run(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  if (x.count == 0 || w.out == 0) return;
  const std::int64_t tiles = ceil_div(x.count, tile_size) * ceil_div(w.out, tile_size);
  launch(plain_linear_kernel<Scalar, Result>, {.grid = unsigned(tiles), .block = threads, .stream = ctx.stream}, x.data,
         x.stride, AnyMatrix(w.format(), w.memory().data, w.out, w.in),
         epilogue::Target<Result>(epilogue, y, int(w.out)));
}

}  // namespace detail::plain_linear

namespace detail::linear {

template <class Scalar, class Result>
void check_shapes(Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  const std::int64_t width = gated ? w.out / 2 : w.out;
  if (w.in <= 0 || x.width() != w.in || y.count != x.count || y.width() != width) {
    fail<RequestError>("linear on CUDA: with a matrix [", w.out, ", ", w.in, "] expected x [", x.count, ", ", w.in,
                       "] and y [", x.count, ", ", width, "], found x [", x.count, ", ", x.width(), "] and y [",
                       y.count, ", ", y.width(), "]");
  }
  if (gated != (w.fusion == Fusion::interleaved))
    fail<RequestError>("linear on CUDA: swi_glu goes with interleaved rows of gate and up, and with nothing else");
}

/// What the choice depends on, of a product with bf16 rows.
inline LinearProblem problem_of(Rows<const bf16> x, const PlacedMatrix& w) {
  const bool scalars = w.format() == Format::bf16 || w.format() == Format::f16;
  const bool wide = scalars ? gemm::whole_copies<8>(x, w) : in_packs<8>(x);
  return {x.count, w.out, w.in, ScalarKind::bf16, w.format(), wide ? 16 : 8};
}

inline LinearChoice choose(const Context& ctx, const LinearProblem& problem) {
  return choose_linear(ctx.device.compute_capability, problem, ctx.device.sms, ctx.order);
}

/// As `linear` below, of a matrix that is one strip.
template <class Scalar, class Result>
void run(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  if constexpr (std::is_same_v<Scalar, bf16>) {
    if ((w.format() == Format::bf16 || w.format() == Format::f16) && !gemm_takes(x, w)) {
      fail<RequestError>("linear on CUDA: expected bf16 rows of whole groups of 4 scalars, 8-byte aligned, found ",
                         w.in, " scalars, ", x.stride, " from row to row, at ",
                         reinterpret_cast<std::uintptr_t>(x.data));
    }
    const LinearChoice choice = choose(ctx, problem_of(x, w));
    switch (choice.kernel) {
      case LinearKernel::gemv:
        return cuda::gemv(ctx, choice.gemv, x, w, epilogue, y);
      case LinearKernel::gemm:
        return cuda::gemm(ctx, choice.gemm, x, w, epilogue, y);
      case LinearKernel::coded_gemv:
        return cuda::coded_gemv(ctx, x, coded_matrix(w), w.out, epilogue, y);
      case LinearKernel::scaled_gemm:
        return cuda::scaled_gemm(ctx, choice.gemm, x, coded_matrix(w), w.out, epilogue, y);
      case LinearKernel::unpacked_gemm:
        return cuda::unpacked_gemm(ctx, choice.gemm, x, w, epilogue, y);
      case LinearKernel::plain:
        break;
    }
  }
  plain_linear::run(ctx, x, w, epilogue, y);
}

}  // namespace detail::linear

// ---- launchers --------------------------------------------------------------------------------------
/// bf16 rows must begin at multiples of 8 bytes and be whole groups of 4 scalars where W's scalars are 2 bytes long.
/// Throws RequestError otherwise, and where shapes do not fit together.
template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  detail::linear::check_shapes(x, w, epilogue, y);
  if (w.uniform()) return detail::linear::run(ctx, x, w, epilogue, y);
  for (int i = 0; i < w.strip_count; ++i) {
    const Strip& strip = w.strips[std::size_t(i)];
    const auto from = [&](const float* terms) { return terms ? terms + strip.first : nullptr; };
    detail::linear::run(ctx, x, PlacedMatrix(strip.format, w.fusion, strip.out, w.in, strip.memory),
                        Epilogue{epilogue.kind, from(epilogue.bias), from(epilogue.scale)},
                        Rows<Result>(y.data + strip.first, y.count, strip.out, y.stride));
  }
}

/// gain [in]. Throws RequestError as rms_norm and linear do.
template <class Result>
void norm_linear(Context& ctx, Rows<const bf16> x, const float* gain, float eps, const PlacedMatrix& w,
                 const Epilogue& epilogue, Rows<bf16> room, Rows<Result> y) {
  detail::linear::check_shapes(x, w, epilogue, y);
  if (w.uniform()) {
    const LinearProblem problem = detail::linear::problem_of(x, w);
    const LinearChoice choice = detail::linear::choose(ctx, problem);
    if (norms_in_gemv(problem, choice) && aligned(gain, 16))
      return norm_gemv(ctx, choice.gemv, x, gain, eps, w, epilogue, y);
  }
  rms_norm(ctx, x, gain, eps, room);
  linear(ctx, Rows<const bf16>(room), w, epilogue, y);
}

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);
static_assert(NormLinearOp<Context, bf16> && NormLinearOp<Context, bf16, float>);

}  // namespace ivl::IVL_CUDA
