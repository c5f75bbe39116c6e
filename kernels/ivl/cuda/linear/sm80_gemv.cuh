// y = epilogue(x W^T) for 1 to 16 rows: decode (see ops/linear.hpp), and of rows that are normed on their way, where
// rms_norm would be a launch of its own (see ops/norm_linear.hpp).
//
//   x  [rows, in]    bf16            rows aligned to 16 bytes
//   W  [out, in]     bf16 or half    row-major, in a multiple of 16
//   y  [rows, out]   bf16 or float   or [rows, out / 2] after swi_glu
//
// Bytes: out * in * 2 of W once, and x once a block, out of the caches. Flops: 2 * rows * out * in.
//
// A block makes 8 or 16 columns of y for all rows. Its eight warps take turns over steps of 32 of k; sixteen bytes a
// lane of a step of W are the operands of two mma.sync as they come from memory, with x as the tall operand: a row more
// costs nothing but its loads, and touches no other row's sums. The eight sums of an element are added in the order of
// the warps. So a row's bits depend on x, W and `in`, not on the rows beside it nor on the policy.
//
// W streams by cp.async through a ring of steps of each warp, in which a lane reads only what it copied itself: no
// barrier, few registers, and on an SM up to 112 (8 columns) or 96 KiB (16 columns) of W on their way.
//
// Half weights become two bf16 each, exactly, and meet x in two products.
//
// The norm: while its first bytes of W are on their way, each block norms all rows of x for itself, into its shared
// memory. The sum of squares has the order of norm.cuh's kernel, so the bits are those of rms_norm and gemv. It costs a
// block two readings of x and one of `gain`, out of the caches. (To norm x where it is loaded needs no memory, but each
// of a warp's eight groups of lanes does it, rows or not: 100 instructions a step instead of 57, counted on sm_90.)
//
// Registers at most 64 (narrow), 80 (wide) and 128 (tall) a thread, no spills. Goal on an H200: 88 % of the read
// bandwidth on matrices over 32 MB, 1.5 times cuBLAS under 16 MB. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/runtime/split_halves.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::gemv {

inline constexpr int warps = 8;  // the order of the sums depends on it, so it is not to be tuned
inline constexpr int tile_columns = 8;

/// The sums of one tile: two chains of mma, so that one need not wait for the other.
struct TileSums {
  float chains[2][4] = {};
  __device__ float operator[](int i) const { return chains[0][i] + chains[1][i]; }
};

/// A step of W: what the four lanes of a group load of a row at once, 16 bytes each, and x_loads times 16 bytes of x
/// that go with a lane's. Other formats add their own.
template <class Stored>
struct Step {
  static constexpr int x_loads = 1, depth = 4 * 8 * x_loads;
  struct Scale {};

  /// sums += x w^T. A lane holds 8 of k: those of a row of W, and of the rows `group` (x[][0]) and `group` + 8 of x.
  /// Which k an mma calls its first does not matter as long as both operands agree.
  static __device__ void multiply(TileSums& sums, const uint4 (&x)[x_loads][2], const uint4& w, Scale) {
    const std::uint32_t a[2][4] = {{x[0][0].x, x[0][1].x, x[0][0].y, x[0][1].y},
                                   {x[0][0].z, x[0][1].z, x[0][0].w, x[0][1].w}};
    const std::uint32_t b[2][2] = {{w.x, w.y}, {w.z, w.w}};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if constexpr (std::is_same_v<Stored, bf16>) {
        prim::mma_m16n8k16<bf16>(sums.chains[i], a[i], b[i]);
      } else {
        static_assert(std::is_same_v<Stored, half>);
        std::uint32_t high[2], low[2];
        split_halves(b[i][0], high[0], low[0]);
        split_halves(b[i][1], high[1], low[1]);
        prim::mma_m16n8k16<bf16>(sums.chains[i], a[i], high);
        prim::mma_m16n8k16<bf16>(sums.chains[i], a[i], low);
      }
    }
  }
};

/// The steps of `in` that are the warp's: they take turns.
template <class Stored>
__device__ inline int steps_of_warp(int warp, int in) {
  constexpr int depth = Step<Stored>::depth;
  return ((in + depth - 1) / depth - warp + warps - 1) / warps;
}

/// Aligned bytes of a lane, which count as zeros unless they are inside of what there is.
struct LaneSource {
  const void* data;
  bool inside;
};

/// A lane's two rows of x, `group` and `group` + 8, for multiply_steps. A row that is null, and what is behind a row's
/// end, counts as zeros.
class LaneRows {
 public:
  /// The lane's first step begins at first_k of a row; it takes every `turn`-th of k.
  __device__ LaneRows(const bf16* row, const bf16* row_below, int first_k, int turn, int in)
      : rows_{row, row_below}, first_k_(first_k), turn_(turn), in_(in) {}
  __device__ void prepare() const {}
  __device__ uint4 load(int step, int half, int i) const {
    const int k = first_k_ + step * turn_;
    if (rows_[half] == nullptr || k >= in_) return {0, 0, 0, 0};
    return prim::load_read_only(rows_[half] + k + 8 * i);
  }

 private:
  const bf16* rows_[2];
  int first_k_, turn_, in_;
};

/// What a kernel does with its rows of x before it multiplies.
struct NoNorm {};
struct RmsNorm {
  const float* gain;  // [in], aligned to 16 bytes
  float eps;
};

/// From row to row of normed rows in shared memory: two of them lie in different banks where `in` is a multiple of 64.
__host__ __device__ constexpr int normed_pitch(int in) { return in + 32; }

/// LaneRows of the block's rows of x, which prepare norms as rms_norm's kernel does.
class NormedRows {
 public:
  /// Shared memory: normed [rows, normed_pitch(in)]; squares [rows, 32], which is free again after prepare.
  __device__ NormedRows(bf16* normed, float* squares, const bf16* x, std::int64_t x_stride, int rows, RmsNorm norm,
                        int first_k, int turn, int in)
      : normed_(normed),
        squares_(squares),
        x_(x),
        x_stride_(x_stride),
        norm_(norm),
        rows_(rows),
        first_k_(first_k),
        turn_(turn),
        in_(in) {}

  __device__ void prepare() const {
    constexpr NormPolicy policy{};
    const int lane = int(threadIdx.x) % 32, row_warps = norm::warps_of_row(in_, policy.values_per_thread);
    const auto each_share = [&](const auto& visit) {  // a warp here takes the shares of several warps there
      for (int i = int(threadIdx.x) / 32; i < rows_ * row_warps; i += warps) {
        const int row = i / row_warps, warp = i % row_warps;
        const bf16* const from = x_ + row * x_stride_;
        visit(row, warp, norm::RowShare<bf16, 8, Constant<policy>>(from, in_, 32 * warp + lane, 32 * row_warps));
      }
    };
    each_share([&](int row, int warp, const auto& share) {
      const float squares = warp_sum(share.squares(0));
      if (lane == 0) squares_[32 * row + warp] = squares;
    });
    __syncthreads();
    each_share([&](int row, int, const auto& share) {
      const float factor = norm::factor_of(sum_of_warps(squares_ + 32 * row, row_warps), in_, norm_.eps);
      share.template store<norm::Kind::rms>(0, factor, norm_.gain, nullptr, normed_ + row * normed_pitch(in_));
    });
    __syncthreads();
  }
  __device__ uint4 load(int step, int half, int i) const {
    const int row = int(threadIdx.x) % 32 / 4 + 8 * half, k = first_k_ + step * turn_;
    if (row >= rows_ || k >= in_) return {0, 0, 0, 0};
    return *reinterpret_cast<const uint4*>(normed_ + row * normed_pitch(in_) + k + 8 * i);
  }

 private:
  bf16* normed_;
  float* squares_;
  const bf16* x_;
  std::int64_t x_stride_;
  RmsNorm norm_;
  int rows_, first_k_, turn_, in_;
};

/// The steps of one warp. W comes through a ring of `Stages` steps in shared memory, where each lane finds what it
/// copied itself: no barrier, and bytes on their way whatever the warp waits for. Of the lane are w_at(step, tile) and
/// scale_at(step, tile); each is asked once and in order. x_rows are LaneRows or NormedRows, prepared when the first
/// steps of W are on their way.
template <class Stored, int Rows, int Tiles, int Stages, class WAt, class ScaleAt, class XRows>
__device__ inline void multiply_steps(int steps, uint4 (&ring)[Stages][Tiles][32], const WAt& w_at,
                                      const ScaleAt& scale_at, const XRows& x_rows, TileSums (&sums)[Tiles]) {
  using Step = gemv::Step<Stored>;
  constexpr int x_steps = 4 / Step::x_loads;  // x comes so many steps at once, out of the first cache
  const int lane = int(threadIdx.x) % 32;
  const auto fetch = [&](int step, int slot) {
    if (step < steps) {
#pragma unroll
      for (int t = 0; t < Tiles; ++t) {
        const LaneSource from = w_at(step, t);
        prim::cp_async<16>(&ring[slot][t][lane], from.data, from.inside ? 16 : 0);
      }
    }
    prim::cp_async_commit();
  };
#pragma unroll
  for (int step = 0; step < Stages - 1; ++step) fetch(step, step);
  x_rows.prepare();
  int slot = 0, emptied = Stages - 1;  // emptied: the slot that was read last, which the next fetch fills
  for (int first = 0; first < steps; first += x_steps) {
    uint4 x[x_steps][Step::x_loads][2] = {};
    typename Step::Scale scales[x_steps][Tiles];
#pragma unroll
    for (int s = 0; s < x_steps; ++s) {
      if (first + s >= steps) continue;
#pragma unroll
      for (int t = 0; t < Tiles; ++t) scales[s][t] = scale_at(first + s, t);
#pragma unroll
      for (int h = 0; h < Rows / 8; ++h) {
#pragma unroll
        for (int i = 0; i < Step::x_loads; ++i) x[s][i][h] = x_rows.load(first + s, h, i);
      }
    }
#pragma unroll
    for (int s = 0; s < x_steps; ++s) {
      if (first + s >= steps) break;
      prim::cp_async_wait<Stages - 2>();
#pragma unroll
      for (int t = 0; t < Tiles; ++t) Step::multiply(sums[t], x[s], ring[slot][t][lane], scales[s][t]);
      fetch(first + s + Stages - 1, emptied);
      emptied = slot;
      slot = slot + 1 < Stages ? slot + 1 : 0;
    }
  }
}

/// A warp's sums of the rows below `rows`, as floats [Rows][Tiles * tile_columns] in shared memory.
template <int Rows, int Tiles>
__device__ inline void store_sums(const TileSums (&sums)[Tiles], int rows, float (&to)[Rows][Tiles * tile_columns]) {
  const int group = int(threadIdx.x) % 32 / 4, place = int(threadIdx.x) % 4;
#pragma unroll
  for (int t = 0; t < Tiles; ++t) {
#pragma unroll
    for (int row = 0; row < Rows; row += 8) {
      if (group + row >= rows) continue;
      float* pair = &to[group + row][t * tile_columns + 2 * place];
      *reinterpret_cast<float2*>(pair) = {sums[t][row / 4], sums[t][row / 4 + 1]};
    }
  }
}

/// Calls finish(row, column, sums) for pairs of columns, the first of them even, of the rows below `rows`, with the
/// sums over all warps. All threads call it, after a barrier behind store_sums.
template <int Rows, int Columns, class Finish>
__device__ inline void add_warps(const float (&partial)[warps][Rows][Columns], int rows, const Finish& finish) {
  for (int i = int(threadIdx.x); i < rows * Columns / 2; i += 32 * warps) {
    const int row = i / (Columns / 2), column = i % (Columns / 2) * 2;
    float2 total = {0, 0};
#pragma unroll
    for (int warp = 0; warp < warps; ++warp) {
      const float2 part = *reinterpret_cast<const float2*>(&partial[warp][row][column]);
      total = {total.x + part.x, total.y + part.y};
    }
    finish(row, column, total);
  }
}

template <EpilogueKind Kind, class Result>
__device__ inline void store_column(const epilogue::Terms& terms, int column, int out, float sum, Result* y) {
  if (column >= out) return;
  const float before = Kind == EpilogueKind::add ? prim::widen(y[column]) : 0;
  y[column] = prim::narrow<Result>(epilogue::finish_column<Kind>(terms.at(column), sum, before));
}

/// The columns `column`, which is even, and the next, of one row of y. The kind is a run-time one here: it is asked
/// once a result, and four times the kernels would be compiled otherwise.
template <class Result>
__device__ inline void store_pair(EpilogueKind kind, const epilogue::Terms& terms, int column, int out, float2 sums,
                                  Result* y) {
  const auto store_both = [&](auto constant) {
    store_column<decltype(constant)::value>(terms, column, out, sums.x, y);
    store_column<decltype(constant)::value>(terms, column + 1, out, sums.y, y);
  };
  switch (kind) {
    case EpilogueKind::store:
      return store_both(Constant<EpilogueKind::store>{});
    case EpilogueKind::gelu:
      return store_both(Constant<EpilogueKind::gelu>{});
    case EpilogueKind::add:
      return store_both(Constant<EpilogueKind::add>{});
    case EpilogueKind::swi_glu:
      if (column < out)
        y[column / 2] =
            prim::narrow<Result>(epilogue::finish_pair(terms.at(column), sums.x, terms.at(column + 1), sums.y));
  }
}

template <class Stored, class Result, class Norm, class Policy>
__global__ void __launch_bounds__(32 * warps, Policy::value.blocks_per_sm)
    gemv_kernel(const bf16* __restrict__ x, std::int64_t x_stride, int rows, Norm norm, const Stored* __restrict__ w,
                int out, int in, EpilogueKind kind, epilogue::Terms terms, Result* y, std::int64_t y_stride) {
  constexpr GemvPolicy P = Policy::value;
  constexpr int columns = P.tiles * tile_columns;
  IVL_SHARED(uint4[warps][P.stages][P.tiles][32], rings);
  IVL_SHARED(float[warps][P.rows][columns], partial);
  const int warp = int(threadIdx.x) / 32, group = int(threadIdx.x) % 32 / 4, place = int(threadIdx.x) % 4;
  const int first_column = int(blockIdx.x) * columns;

  constexpr int depth = Step<Stored>::depth, turn = warps * depth;
  const int first_k = warp * depth + 8 * place;
  const Stored* next_w = w + std::int64_t(first_column + group) * in + first_k;
  int next_k = first_k;
  const auto w_at = [&](int, int tile) {
    const int below = tile * tile_columns;
    const LaneSource source{next_w + std::int64_t(below) * in, next_k < in && first_column + below + group < out};
    if (tile == P.tiles - 1) next_w += turn, next_k += turn;
    return source;
  };
  const auto no_scale = [](int, int) { return typename Step<Stored>::Scale{}; };
  TileSums sums[P.tiles];
  const auto multiply = [&](const auto& x_rows) {
    multiply_steps<Stored, P.rows>(steps_of_warp<Stored>(warp, in), rings[warp], w_at, no_scale, x_rows, sums);
  };
  if constexpr (std::is_same_v<Norm, RmsNorm>) {
    IVL_DYNAMIC_SHARED(normed);
    static_assert(sizeof(partial) >= sizeof(float[P.rows][32]), "GemvPolicy: rms_norm's sums need more room");
    multiply(
        NormedRows(reinterpret_cast<bf16*>(normed), &partial[0][0][0], x, x_stride, rows, norm, first_k, turn, in));
  } else {
    const auto row_at = [&](int row) { return row < rows ? x + row * x_stride : nullptr; };
    multiply(LaneRows(row_at(group), row_at(group + 8), first_k, turn, in));
  }
  store_sums(sums, rows, partial[warp]);
  __syncthreads();
  add_warps(partial, rows, [&](int row, int column, float2 total) {
    store_pair(kind, terms, first_column + column, out, total, y + row * y_stride);
  });
}

template <GemvPolicy P, class Stored, class Norm, class Result>
void run(Context& ctx, Rows<const bf16> x, Norm norm, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  static_assert(P.rows == 8 || P.rows == 16, "GemvPolicy: rows must be 8 or 16, what an mma has");
  static_assert(P.tiles > 0 && P.stages > 1 && P.blocks_per_sm > 0,
                "GemvPolicy: the numbers must be positive, and stages at least 2, one to read and one to fill");
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  const std::int64_t width = gated ? w.out / 2 : w.out;
  expect(x.count <= P.rows, "gemv on CUDA: expected at most ", P.rows, " rows, found ", x.count);
  expect(w.in > 0 && x.width() == w.in && y.count == x.count && y.width() == width, "gemv on CUDA: expected x [",
         x.count, ", ", w.in, "] and y [", x.count, ", ", width, "], found x [", x.count, ", ", x.width(), "] and y [",
         y.count, ", ", y.width(), "]");
  expect(!gated || (w.fusion == Fusion::interleaved && w.out % 2 == 0),
         "gemv on CUDA: swi_glu expects interleaved rows of gate and up, found ", w.out, " rows");
  if (w.in % 16 != 0) fail<RequestError>("gemv on CUDA: expected rows of a multiple of 16 scalars, found ", w.in);
  if (x.stride % 8 != 0 || !aligned(x.data, 16))
    fail<RequestError>("gemv on CUDA: expected rows of x that start at multiples of 16 bytes, found a stride of ",
                       x.stride, " scalars from ", reinterpret_cast<std::uintptr_t>(x.data));
  if (x.count == 0 || w.out == 0) return;
  constexpr bool normed = std::is_same_v<Norm, RmsNorm>;
  launch(gemv_kernel<Stored, Result, Norm, Constant<P>>,
         {.grid = unsigned(ceil_div(w.out, P.tiles * tile_columns)),
          .block = unsigned(32 * warps),
          .shared_bytes = normed ? int(x.count * sizeof(bf16)) * normed_pitch(int(w.in)) : 0,
          .stream = ctx.stream},
         x.data, x.stride, int(x.count), norm, reinterpret_cast<const Stored*>(w.memory().data), int(w.out), int(w.in),
         epilogue.kind, epilogue::Terms(epilogue), y.data, y.stride);
}

}  // namespace detail::gemv

// ---- launchers --------------------------------------------------------------------------------------
/// y = epilogue(x W^T) as P says; x.count is at most P.rows, w's format bf16 or f16. Throws RequestError if rows of W
/// or x do not start at multiples of 16 bytes.
template <GemvPolicy P, class Result>
void gemv(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  expect(w.format() == Format::bf16 || w.format() == Format::f16,
         "gemv on CUDA: expected a matrix of bf16 or f16 scalars");
  if (w.format() == Format::bf16) {
    detail::gemv::run<P, bf16>(ctx, x, detail::gemv::NoNorm{}, w, epilogue, y);
  } else {
    detail::gemv::run<P, half>(ctx, x, detail::gemv::NoNorm{}, w, epilogue, y);
  }
}

/// y = epilogue(rms_norm(x) W^T) as P says, with the bits of rms_norm and gemv; gain [in], aligned to 16 bytes, w's
/// format bf16. Throws RequestError as they do, and CudaError if x does not fit into a block's shared memory beside W.
template <GemvPolicy P, class Result>
void norm_gemv(Context& ctx, Rows<const bf16> x, const float* gain, float eps, const PlacedMatrix& w,
               const Epilogue& epilogue, Rows<Result> y) {
  expect(w.format() == Format::bf16 && aligned(gain, 16),
         "norm_gemv on CUDA: expected a matrix of bf16 scalars, and a gain that starts at a multiple of 16 bytes");
  detail::norm::check_width(NormPolicy{}, w.in);
  detail::gemv::run<P, bf16>(ctx, x, detail::gemv::RmsNorm{gain, eps}, w, epilogue, y);
}

/// With a policy that choose_gemv or choose_linear gave.
template <class Result>
void gemv(Context& ctx, const GemvPolicy& policy, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue,
          Rows<Result> y) {
  if (policy == gemv_tall) return gemv<gemv_tall>(ctx, x, w, epilogue, y);
  if (policy == gemv_wide) return gemv<gemv_wide>(ctx, x, w, epilogue, y);
  gemv<gemv_narrow>(ctx, x, w, epilogue, y);
}

/// As above; at most 8 rows.
template <class Result>
void norm_gemv(Context& ctx, const GemvPolicy& policy, Rows<const bf16> x, const float* gain, float eps,
               const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  if (policy == gemv_wide) return norm_gemv<gemv_wide>(ctx, x, gain, eps, w, epilogue, y);
  norm_gemv<gemv_narrow>(ctx, x, gain, eps, w, epilogue, y);
}

}  // namespace ivl::IVL_CUDA
