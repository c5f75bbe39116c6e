// y = epilogue(x W^T) on tensor cores for weights that are whole numbers, or FP8, with scales: all formats that
// formats/coded.hpp lays, by one kernel for codes of eight bits and one for fewer.
//
//   x [rows, in]  bf16, rows of whole 16-byte copies     W [out, in]  as formats/coded.hpp lays it
//
// sm80_gemm.cuh's main loop, of which only the loader of W differs: codes wait in registers for a stage, become bf16,
// which hold them exactly (with what is taken off them taken off), and lie in shared memory beside their scales. Sums
// of 32 or 16 columns, over which no scale changes, join the result with their scale and minimum, in order: what the
// format means, rounded in float alone. So a row's bits depend neither on the other rows nor on the policy.
//
// What distinguishes formats is a branch that all threads take alike, once for sixteen weights. Bytes and instructions
// of each format are in docs/cuda.md. Registers at most 255 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/coded.cuh"
#include "ivl/cuda/formats/layouts.hpp"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/sm80_gemm.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::scaled_gemm {

/// The interface of gemm::StageLoader for codes: a copy stores what was loaded a stage before, and loads what the next
/// stage needs.
template <bool Bytes, int TileRows, int Threads>
class CodesLoader {
 public:
  using Piece = CodedPiece<Bytes>;
  static constexpr int pieces_a_row = gemm::stage_depth / Piece::numbers, rows_at_once = Threads / pieces_a_row;
  static constexpr int copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0, "CodesLoader: the swizzle must be every copy's");

  /// Rows [first, first + TileRows) of the matrix, as far as there are any.
  __device__ CodesLoader(const CodedMatrix& w, int out, int in, int first)
      : w_(w),
        out_(out),
        in_(in),
        row_(first + int(threadIdx.x) / pieces_a_row),
        k_(int(threadIdx.x) % pieces_a_row * Piece::numbers) {
#pragma unroll
    for (int i = 0; i < copies; ++i) load(i);
    advance();
  }
  /// scales and minimums [piece][TileRows]
  __device__ void copy(bf16* stage, float* scales, float* minimums, int number) {
    const Piece& piece = next_[number];
    const CodedLayout& layout = w_.layout;
    const int row = int(threadIdx.x) / pieces_a_row + number * rows_at_once, column = int(threadIdx.x) % pieces_a_row;
    std::uint32_t pairs[8];
    piece.pairs(layout, pairs);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      *reinterpret_cast<uint4*>(stage + gemm::chunk_offset(row, 2 * column + i)) = {pairs[4 * i], pairs[4 * i + 1],
                                                                                    pairs[4 * i + 2], pairs[4 * i + 3]};
    }
    scales[column * TileRows + row] = piece.scale.scale(layout) * layout.factor;
    if (layout.has_minimum) minimums[column * TileRows + row] = piece.scale.minimum(layout);
    load(number);
  }
  __device__ void advance() { k_ += gemm::stage_depth; }

 private:
  __device__ void load(int number) {
    const int row = row_ + number * rows_at_once;
    next_[number] = row < out_ && k_ < in_ ? Piece(w_, row, k_) : Piece();
  }

  const CodedMatrix& w_;
  int out_, in_, row_, k_;  // k_: of the next load
  Piece next_[copies];
};

template <class Result>
struct Operands {
  const bf16* x;  // [rows, in]
  std::int64_t x_stride;
  CodedMatrix w;  // [out, in]
  int in;
  epilogue::Target<Result> target;
};

template <bool Bytes, class Result, class Policy>
__global__ void __launch_bounds__(gemm::Tile<gemm::Scaled, Policy>::threads, Policy::value.blocks_per_sm)
    scaled_gemm_kernel(Operands<Result> operands) {
  using Tile = gemm::Tile<gemm::Scaled, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);
  auto& shared = *reinterpret_cast<typename Tile::Shared*>(memory);

  const int out = operands.target.out, in = operands.in;
  const gemm::TilePlace place =
      gemm::place_of(int(blockIdx.x), (operands.target.rows + p.rows - 1) / p.rows, (out + p.columns - 1) / p.columns);
  const int first_row = place.row * p.rows, first_column = place.column * p.columns;
  gemm::StageLoader<bf16, p.rows, Tile::threads, 16> x(operands.x + first_row * operands.x_stride, operands.x_stride,
                                                       operands.target.rows - first_row, in);
  CodesLoader<Bytes, p.columns, Tile::threads> w(operands.w, out, in, first_column);
  gemm::multiply_tile<Tile>(shared, x, w, in, {operands.w.short_runs, operands.w.layout.has_minimum});
  epilogue::finish_tile<p.rows, p.columns, Tile::sums_pitch, Tile::threads>(shared.sums, first_row, first_column,
                                                                            operands.target);
}

}  // namespace detail::scaled_gemm

// ---- launchers --------------------------------------------------------------------------------------
namespace detail {

/// A matrix that is one strip, as kernels read it; nothing, if its format is none of formats/coded.hpp's.
inline CodedMatrix coded_matrix(const PlacedMatrix& w) {
  if (!is_coded(w.format())) return {};
  return CodedMatrix(coded_layout(w.format()), w.memory().data, w.out, w.in);
}

}  // namespace detail

/// With policy P; w [out, x.width()], and rows of x are whole 16-byte copies: RequestError otherwise.
template <GemmPolicy P, class Result>
void scaled_gemm(Context& ctx, Rows<const bf16> x, const detail::CodedMatrix& w, std::int64_t out,
                 const Epilogue& epilogue, Rows<Result> y) {
  using Tile = detail::gemm::Tile<detail::gemm::Scaled, Constant<P>>;
  expect(in_packs<8>(x), "scaled_gemm on CUDA: expected rows of x that start at multiples of 16 bytes, found ",
         x.width(), " scalars, ", x.stride, " from row to row");
  if (x.count == 0 || out == 0) return;
  const auto kernel = w.bytes ? detail::scaled_gemm::scaled_gemm_kernel<true, Result, Constant<P>>
                              : detail::scaled_gemm::scaled_gemm_kernel<false, Result, Constant<P>>;
  launch(kernel,
         {.grid = unsigned(ceil_div(x.count, P.rows) * ceil_div(out, P.columns)),
          .block = unsigned(Tile::threads),
          .shared_bytes = int(sizeof(typename Tile::Shared)),
          .stream = ctx.stream},
         detail::scaled_gemm::Operands<Result>{x.data, x.stride, w, int(x.width()),
                                               detail::epilogue::Target<Result>(epilogue, y, int(out))});
}

/// With a policy that choose_linear gave.
template <class Result>
void scaled_gemm(Context& ctx, const GemmPolicy& policy, Rows<const bf16> x, const detail::CodedMatrix& w,
                 std::int64_t out, const Epilogue& epilogue, Rows<Result> y) {
  if (policy == few_gemm) return scaled_gemm<few_gemm>(ctx, x, w, out, epilogue, y);
  scaled_gemm<scaled_gemm_policy>(ctx, x, w, out, epilogue, y);
}

}  // namespace ivl::IVL_CUDA
