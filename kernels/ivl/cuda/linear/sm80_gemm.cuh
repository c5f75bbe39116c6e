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
// nothing. So a row's bits depend neither on the number of rows nor on the policy. sm80_gemv.cuh, for few rows, adds in
// another order: see choose.hpp.
//
// Limits on paper, H100, cycles of an SM for a tile's step of 16, on all four tensor cores. mma.sync reaches about 0.62
// of the 989 TFLOP/s that wgmma has there, which is 6.4 cycles an mma; shared memory moves 128 bytes a cycle, the
// second cache about 39 an SM.
//
//   policy   tile       mma   shared memory   second cache
//   tall     128 x 256  410             352            315
//   square   128 x 128  205             192            210
//   narrow    64 x  64   51              96            105
//   few       16 x  32    6              28             39
//
// A stage of `tall` is 128 mma a warp beside 32 ldmatrix, 12 cp.async and about 70 other instructions. At K = 1024 the
// epilogue, which nothing hides there, is a tenth of a block's time; of square blocks two share an SM, and one's
// epilogue hides behind the other's products. `narrow` and `few` are for few rows: their deep rings wait for W, not for
// mma.
//
// Registers at most 255 a thread, no spills. Goal: at least 85 % of what mma.sync can reach. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/runtime/split_halves.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::gemm {

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
struct Operands {
  const bf16* x;  // [rows, in]
  std::int64_t x_stride;
  const Weight* w;  // [out, in]
  int in;
  epilogue::Target<Result> target;
};

/// Weights that are numbers of a bf16 with a scale, and perhaps a minimum, for runs of columns of x and W.
struct Scaled {};

/// Of such weights, how the sums of runs join those of all. A step is 16 columns.
struct RunRule {
  bool every_step = false;  // else every second one
  bool has_minimum = false;
};

template <class Weight>
struct StagedWeight {
  using Type = Weight;
  static constexpr bool scaled = false;
};
template <>
struct StagedWeight<Scaled> {
  using Type = bf16;
  static constexpr bool scaled = true;
};

template <class Weight, class Policy>
struct Tile {
  using Stored = typename StagedWeight<Weight>::Type;
  static constexpr bool scaled = StagedWeight<Weight>::scaled;
  static constexpr GemmPolicy p = Policy::value;
  static constexpr int threads = p.threads();
  // 8 more than whole turns of the banks: the rows of a fragment lie in different ones.
  static constexpr int sums_pitch = p.columns + 8;

  struct Numbers {
    bf16 x[p.rows * stage_depth];
    Stored w[p.columns * stage_depth];
  };
  struct ScaledNumbers : Numbers {
    // [step][column]; minimums only where the format has them
    float scales[stage_depth / 16 * p.columns], minimums[stage_depth / 16 * p.columns];
  };
  using Stage = std::conditional_t<scaled, ScaledNumbers, Numbers>;
  /// The sums take the place of the stages when nobody reads these any more.
  union Shared {
    Stage stages[p.stages];
    float sums[p.rows * sums_pitch];
  };

  static_assert(p.stages >= 2, "GemmPolicy: stages must be at least 2, one to read and one to fill");
  static_assert(MultipleOf<p.rows, p.warp_rows> && MultipleOf<p.columns, p.warp_columns>,
                "GemmPolicy: a tile must be whole warps' tiles");
  static_assert(MultipleOf<p.warp_rows, 16> && MultipleOf<p.warp_columns, 16>,
                "GemmPolicy: a warp's tile must be whole fragments");
};

/// Brings the stages, one after the other, into a ring of them. The loaders are a StageLoader or have its interface.
template <class Tile, class XLoader, class WLoader>
class StageRing {
 public:
  __device__ StageRing(typename Tile::Shared& shared, XLoader& x, WLoader& w, int in)
      : shared_(shared), x_(x), w_(w), left_((in + stage_depth - 1) / stage_depth) {}

  /// Part `part` of `parts` of the next stage's copies; the last part closes it. Behind the last stage it is empty.
  __device__ void fetch(int part, int parts) {
    constexpr int copies = XLoader::copies + WLoader::copies;
    if (left_ > 0) {
      typename Tile::Stage& stage = shared_.stages[slot_];
#pragma unroll
      for (int i = 0; i < copies; ++i) {
        if (i < copies * part / parts || i >= copies * (part + 1) / parts) continue;
        if (i < XLoader::copies) {
          x_.copy(stage.x, i);
        } else {
          if constexpr (Tile::scaled) {
            w_.copy(stage.w, stage.scales, stage.minimums, i - XLoader::copies);
          } else {
            w_.copy(stage.w, i - XLoader::copies);
          }
        }
      }
    }
    if (part + 1 < parts) return;
    prim::cp_async_commit();
    x_.advance();
    w_.advance();
    --left_;
    slot_ = slot_ + 1 < Tile::p.stages ? slot_ + 1 : 0;
  }

 private:
  typename Tile::Shared& shared_;
  XLoader& x_;
  WLoader& w_;
  int left_, slot_ = 0;
};

/// A warp's part of the tile: its sums, and two buffers for the fragments of a step of 16. Scaled weights: each run of
/// columns is summed on its own, and joins the sums with its scale; a minimum is taken off as often as x says, whose
/// sum over the run is one more product, with ones.
template <class Tile>
class WarpTile {
 public:
  static constexpr GemmPolicy p = Tile::p;
  static constexpr int row_fragments = p.warp_rows / 16, column_fragments = p.warp_columns / 8;

  __device__ explicit WarpTile(RunRule rule) : rule_(rule) {
    constexpr int warps_a_row = p.columns / p.warp_columns;
    const int warp = int(threadIdx.x) / 32;
    row_ = warp / warps_a_row * p.warp_rows;
    column_ = warp % warps_a_row * p.warp_columns;
  }

  __device__ void load(const typename Tile::Stage& stage, int step, int buffer) {
    const int lane = int(threadIdx.x) % 32;
    const bf16* const x_from = stage.x + chunk_offset(row_ + lane % 16, 2 * step + lane / 16);
#pragma unroll
    for (int i = 0; i < row_fragments; ++i) prim::ldmatrix(x_[buffer][i], x_from + i * 16 * stage_depth);
    const auto* const w_from = stage.w + chunk_offset(column_ + lane % 8 + lane / 16 * 8, 2 * step + lane / 8 % 2);
#pragma unroll
    for (int i = 0; i < column_fragments; i += 2) {
      std::uint32_t pair[4];
      prim::ldmatrix(pair, w_from + i * 8 * stage_depth);
      w_[buffer][i][0] = pair[0];
      w_[buffer][i][1] = pair[1];
      w_[buffer][i + 1][0] = pair[2];
      w_[buffer][i + 1][1] = pair[3];
    }
    if constexpr (Tile::scaled) {
      // Of a run's first step: the second may be behind the end of the row.
      const int run_step = rule_.every_step ? step : step / 2 * 2;
#pragma unroll
      for (int j = 0; j < column_fragments; ++j) {
        const int at = run_step * p.columns + column_ + 8 * j + lane % 4 * 2;
        scales_[buffer][j] = *reinterpret_cast<const float2*>(stage.scales + at);
        if (rule_.has_minimum) minimums_[buffer][j] = *reinterpret_cast<const float2*>(stage.minimums + at);
      }
    }
  }

  /// Step `step` of a stage, whose fragments are in buffer step % 2.
  __device__ void multiply(int step) {
    const int buffer = step % 2;
    if constexpr (Tile::scaled) {
      if (rule_.every_step || step % 2 == 0) begin_run();
      const std::uint32_t ones[2] = {0x3f803f80u, 0x3f803f80u};
#pragma unroll
      for (int i = 0; i < row_fragments; ++i) {
#pragma unroll
        for (int j = 0; j < column_fragments; ++j) prim::mma_m16n8k16<bf16>(run_[i][j], x_[buffer][i], w_[buffer][j]);
        if (rule_.has_minimum) prim::mma_m16n8k16<bf16>(x_sums_[i], x_[buffer][i], ones);
      }
      if (rule_.every_step || step % 2 == 1) join_run(buffer);
    } else {
      multiply_numbers(buffer);
    }
  }

  /// To the tile's sums in shared memory.
  __device__ void store(float* sums) const {
    const int lane = int(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < row_fragments; ++i) {
#pragma unroll
      for (int j = 0; j < column_fragments; ++j) {
#pragma unroll
        for (int half_rows = 0; half_rows < 2; ++half_rows) {
          const int row = row_ + 16 * i + 8 * half_rows + lane / 4, column = column_ + 8 * j + lane % 4 * 2;
          *reinterpret_cast<float2*>(sums + row * Tile::sums_pitch + column) = {sums_[i][j][2 * half_rows],
                                                                                sums_[i][j][2 * half_rows + 1]};
        }
      }
    }
  }

 private:
  __device__ void multiply_numbers(int buffer) {
#pragma unroll
    for (int j = 0; j < column_fragments; ++j) {
      const std::uint32_t(&fragment)[2] = w_[buffer][j];
      if constexpr (std::is_same_v<typename Tile::Stored, half>) {
        std::uint32_t high[2], low[2];
        split_halves(fragment[0], high[0], low[0]);
        split_halves(fragment[1], high[1], low[1]);
        multiply_column(buffer, j, high);
        multiply_column(buffer, j, low);
      } else {
        multiply_column(buffer, j, fragment);
      }
    }
  }

  __device__ void begin_run() {
#pragma unroll
    for (int i = 0; i < row_fragments; ++i) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        x_sums_[i][n] = 0;
#pragma unroll
        for (int j = 0; j < column_fragments; ++j) run_[i][j][n] = 0;
      }
    }
  }
  __device__ void join_run(int buffer) {
#pragma unroll
    for (int j = 0; j < column_fragments; ++j) {
      const float2 scale = scales_[buffer][j];
#pragma unroll
      for (int i = 0; i < row_fragments; ++i) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          float& sum = sums_[i][j][n];
          sum = fmaf(run_[i][j][n], n % 2 == 0 ? scale.x : scale.y, sum);
          if (rule_.has_minimum) {
            const float2 minimum = minimums_[buffer][j];
            sum = fmaf(-x_sums_[i][n], n % 2 == 0 ? minimum.x : minimum.y, sum);
          }
        }
      }
    }
  }

  __device__ void multiply_column(int buffer, int j, const std::uint32_t (&w)[2]) {
#pragma unroll
    for (int i = 0; i < row_fragments; ++i) prim::mma_m16n8k16<bf16>(sums_[i][j], x_[buffer][i], w);
  }

  int row_, column_;
  float sums_[row_fragments][column_fragments][4] = {};
  std::uint32_t x_[2][row_fragments][4];
  std::uint32_t w_[2][column_fragments][2];
  // Of scaled weights; the compiler keeps no registers for what is not used.
  RunRule rule_;
  float run_[row_fragments][column_fragments][4], x_sums_[row_fragments][4];
  float2 scales_[2][column_fragments], minimums_[2][column_fragments];
};

/// Multiplies the tile that the loaders bring. Its sums lie as floats [p.rows][Tile::sums_pitch] in shared.sums when
/// all threads are back; they call it together.
template <class Tile, class XLoader, class WLoader>
__device__ inline void multiply_tile(typename Tile::Shared& shared, XLoader& x, WLoader& w, int in, RunRule rule = {}) {
  constexpr GemmPolicy p = Tile::p;
  constexpr int steps = stage_depth / 16;
  StageRing<Tile, XLoader, WLoader> ring(shared, x, w, in);
  WarpTile<Tile> warp(rule);
#pragma unroll
  for (int stage = 0; stage < p.stages - 1; ++stage) ring.fetch(0, 1);
  prim::cp_async_wait<p.stages - 2>();
  __syncthreads();
  int slot = 0;
  warp.load(shared.stages[slot], 0, 0);
  const int stages = (in + stage_depth - 1) / stage_depth;
  for (int stage = 0; stage < stages; ++stage) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      if (step + 1 < steps) {
        warp.load(shared.stages[slot], step + 1, (step + 1) % 2);
        ring.fetch(step, steps - 1);
      } else if (stage + 1 < stages) {
        // The next stage is there for everyone, and nobody reads this one any more: the next fetch may fill it.
        prim::cp_async_wait<p.stages - 2>();
        __syncthreads();
        slot = slot + 1 < p.stages ? slot + 1 : 0;
        warp.load(shared.stages[slot], 0, (step + 1) % 2);
      }
      warp.multiply(step);
    }
  }
  __syncthreads();  // nobody reads a stage any more; the sums take their place
  warp.store(shared.sums);
  __syncthreads();
}

template <class Weight, class Result, int CopyBytes, class Policy>
__global__ void __launch_bounds__(Tile<Weight, Policy>::threads, Policy::value.blocks_per_sm)
    gemm_kernel(Operands<Weight, Result> operands) {
  using Tile = gemm::Tile<Weight, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);
  auto& shared = *reinterpret_cast<typename Tile::Shared*>(memory);

  const int out = operands.target.out, in = operands.in;
  const TilePlace place =
      place_of(int(blockIdx.x), (operands.target.rows + p.rows - 1) / p.rows, (out + p.columns - 1) / p.columns);
  const int first_row = place.row * p.rows, first_column = place.column * p.columns;
  StageLoader<bf16, p.rows, Tile::threads, CopyBytes> x(operands.x + first_row * operands.x_stride, operands.x_stride,
                                                        operands.target.rows - first_row, in);
  StageLoader<Weight, p.columns, Tile::threads, CopyBytes> w(operands.w + first_column * std::int64_t(in), in,
                                                             out - first_column, in);
  multiply_tile<Tile>(shared, x, w, in);
  epilogue::finish_tile<p.rows, p.columns, Tile::sums_pitch, Tile::threads>(shared.sums, first_row, first_column,
                                                                            operands.target);
}

template <GemmPolicy P, int CopyBytes, class Weight, class Result>
void run(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  using Tile = gemm::Tile<Weight, Constant<P>>;
  const std::int64_t tiles = ceil_div(x.count, P.rows) * ceil_div(w.out, P.columns);
  launch(gemm_kernel<Weight, Result, CopyBytes, Constant<P>>,
         {.grid = unsigned(tiles),
          .block = unsigned(Tile::threads),
          .shared_bytes = int(sizeof(typename Tile::Shared)),
          .stream = ctx.stream},
         Operands<Weight, Result>{x.data, x.stride, reinterpret_cast<const Weight*>(w.memory().data), int(w.in),
                                  epilogue::Target<Result>(epilogue, y, int(w.out))});
}

/// Whether all rows of x and W are whole copies of so many scalars.
template <int Scalars>
bool whole_copies(Rows<const bf16> x, const PlacedMatrix& w) {
  return in_packs<Scalars>(x) && w.in % Scalars == 0 && aligned(w.memory().data, Scalars * 2);
}

}  // namespace detail::gemm

// ---- launchers --------------------------------------------------------------------------------------
/// Whether `gemm` takes these: a matrix of 2-byte scalars, and rows of 8-byte copies.
inline bool gemm_takes(Rows<const bf16> x, const PlacedMatrix& w) {
  return (w.format() == Format::bf16 || w.format() == Format::f16) && detail::gemm::whole_copies<4>(x, w);
}

/// With policy P; but half weights, and rows that are not whole 16-byte copies, have one of their own. x and w must be
/// such as gemm_takes: RequestError otherwise.
template <GemmPolicy P, class Result>
void gemm(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  expect(gemm_takes(x, w),
         "gemm on CUDA: expected a matrix of bf16 or f16 scalars, and rows of whole groups of 4; found ", w.in,
         " scalars, ", x.stride, " from row to row");
  if (x.count == 0 || w.out == 0) return;
  if (w.format() == Format::f16) return detail::gemm::run<half_gemm, 8, half>(ctx, x, w, epilogue, y);
  if (!detail::gemm::whole_copies<8>(x, w)) return detail::gemm::run<square_gemm, 8, bf16>(ctx, x, w, epilogue, y);
  detail::gemm::run<P, 16, bf16>(ctx, x, w, epilogue, y);
}

/// With a policy that choose_linear gave.
template <class Result>
void gemm(Context& ctx, const GemmPolicy& policy, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue,
          Rows<Result> y) {
  if (policy == tall_gemm) return gemm<tall_gemm>(ctx, x, w, epilogue, y);
  if (policy == narrow_gemm) return gemm<narrow_gemm>(ctx, x, w, epilogue, y);
  if (policy == few_gemm) return gemm<few_gemm>(ctx, x, w, epilogue, y);
  gemm<square_gemm>(ctx, x, w, epilogue, y);
}

}  // namespace ivl::IVL_CUDA
