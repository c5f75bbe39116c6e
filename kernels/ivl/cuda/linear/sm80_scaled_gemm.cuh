// y = epilogue(x W^T) on tensor cores for weights that are whole numbers with scales: Q8_0 and AWQ.
//
//   x [rows, in]  bf16, rows of whole 16-byte copies     W [out, in]  as formats/q8_0.cuh and formats/awq.cuh lay it
//
// sm80_gemm.cuh's main loop, of which only the loader of W differs: codes wait in registers for a stage, become bf16,
// which hold them exactly (AWQ's with their zero point taken off), and lie in shared memory beside their scales. Sums
// of 32 columns join the result with their scale, in order: what the format means, rounded in float alone. So a row's
// bits depend neither on the other rows nor on the policy.
//
// Bytes: 1.06 (Q8_0) or 0.52 (AWQ) a weight. Registers at most 255 a thread, no spills. Not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/formats/awq.cuh"
#include "ivl/cuda/formats/q8_0.cuh"
#include "ivl/cuda/linear/choose.hpp"
#include "ivl/cuda/linear/epilogue.cuh"
#include "ivl/cuda/linear/sm80_gemm.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "ivl/ops/linear.hpp"

namespace ivl::cuda {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::scaled_gemm {

/// A thread's 16 codes of a row, and their scale.
template <class F>
struct Piece;
template <>
struct Piece<Q8_0> {
  uint4 codes = {0, 0, 0, 0};
  half scale = {0};

  Piece() = default;
  __device__ Piece(const std::byte* data, int out, int in, std::int64_t row, int k)
      : codes(*reinterpret_cast<const uint4*>(data + row * in + k)) {
    const auto* const scales = reinterpret_cast<const half*>(data + out * std::int64_t(in));
    scale = scales[row * (in / Q8_0::block) + k / Q8_0::block];
  }
  /// Code i, as a number.
  __device__ float number(int i) const {
    const std::uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
    return float(std::int8_t(words[i / 4] >> 8 * (i % 4)));
  }
};
template <>
struct Piece<Awq> {
  uint2 codes = {0, 0};
  int zero = 0;
  half scale = {0};

  Piece() = default;
  __device__ Piece(const std::byte* data, int out, int in, std::int64_t row, int k)
      : codes(*reinterpret_cast<const uint2*>(data + row * (in / 2) + k / 2)) {
    const int groups = in / Awq::block;
    const std::byte* const scales = data + out * std::int64_t(in / 2);
    const std::byte* const zeros = scales + out * std::int64_t(groups) * std::int64_t(sizeof(half));
    const std::int64_t group = row * groups + k / Awq::block;
    scale = reinterpret_cast<const half*>(scales)[group];
    zero = int(reinterpret_cast<const std::uint8_t*>(zeros)[group]);
  }
  __device__ float number(int i) const {
    const std::uint32_t words[2] = {codes.x, codes.y};
    return float(int(words[i / 8] >> 4 * (i % 8) & 15u) - zero);
  }
};

/// The interface of gemm::StageLoader for codes: a copy stores what was loaded a stage before, and loads what the next
/// stage needs.
template <class F, int TileRows, int Threads>
class CodesLoader {
 public:
  static constexpr int codes = 16, pieces_a_row = gemm::stage_depth / codes, rows_at_once = Threads / pieces_a_row;
  static constexpr int copies = TileRows / rows_at_once;
  static_assert(TileRows % rows_at_once == 0 && rows_at_once % 8 == 0, "CodesLoader: the swizzle must be every copy's");

  /// Rows [first, first + TileRows) of the matrix, as far as there are any.
  __device__ CodesLoader(const std::byte* data, int out, int in, int first)
      : data_(data),
        out_(out),
        in_(in),
        row_(first + int(threadIdx.x) / pieces_a_row),
        k_(int(threadIdx.x) % pieces_a_row * codes) {
#pragma unroll
    for (int i = 0; i < copies; ++i) load(i);
    advance();
  }
  /// scales [block][TileRows]
  __device__ void copy(bf16* stage, float* scales, int number) {
    const Piece<F>& piece = next_[number];
    const int row = int(threadIdx.x) / pieces_a_row + number * rows_at_once, column = int(threadIdx.x) % pieces_a_row;
#pragma unroll
    for (int half_piece = 0; half_piece < 2; ++half_piece) {
      std::uint32_t pairs[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        pairs[i] =
            prim::narrow_pair<bf16>(piece.number(8 * half_piece + 2 * i), piece.number(8 * half_piece + 2 * i + 1));
      *reinterpret_cast<uint4*>(stage + gemm::chunk_offset(row, 2 * column + half_piece)) = {pairs[0], pairs[1],
                                                                                             pairs[2], pairs[3]};
    }
    constexpr int pieces_a_block = gemm::scale_block / codes;
    if (column % pieces_a_block == 0) scales[column / pieces_a_block * TileRows + row] = prim::widen(piece.scale);
    load(number);
  }
  __device__ void advance() { k_ += gemm::stage_depth; }

 private:
  __device__ void load(int number) {
    const int row = row_ + number * rows_at_once;
    next_[number] = row < out_ && k_ < in_ ? Piece<F>(data_, out_, in_, row, k_) : Piece<F>();
  }

  const std::byte* data_;
  int out_, in_, row_, k_;  // k_: of the next load
  Piece<F> next_[copies];
};

template <class F, class Result, class Policy>
__global__ void __launch_bounds__(gemm::Tile<gemm::Scaled<F>, Policy>::threads, Policy::value.blocks_per_sm)
    scaled_gemm_kernel(gemm::Operands<std::byte, Result> operands) {
  using Tile = gemm::Tile<gemm::Scaled<F>, Policy>;
  constexpr GemmPolicy p = Tile::p;
  IVL_DYNAMIC_SHARED(memory);
  auto& shared = *reinterpret_cast<typename Tile::Shared*>(memory);

  const int out = operands.target.out, in = operands.in;
  const gemm::TilePlace place =
      gemm::place_of(int(blockIdx.x), (operands.target.rows + p.rows - 1) / p.rows, (out + p.columns - 1) / p.columns);
  const int first_row = place.row * p.rows, first_column = place.column * p.columns;
  gemm::StageLoader<bf16, p.rows, Tile::threads, 16> x(operands.x + first_row * operands.x_stride, operands.x_stride,
                                                       operands.target.rows - first_row, in);
  CodesLoader<F, p.columns, Tile::threads> w(operands.w, out, in, first_column);
  gemm::multiply_tile<Tile>(shared, x, w, in);
  epilogue::finish_tile<p.rows, p.columns, Tile::sums_pitch, Tile::threads>(shared.sums, first_row, first_column,
                                                                            operands.target);
}

template <GemmPolicy P, class F, class Result>
void run(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  using Tile = gemm::Tile<gemm::Scaled<F>, Constant<P>>;
  launch(scaled_gemm_kernel<F, Result, Constant<P>>,
         {.grid = unsigned(ceil_div(x.count, P.rows) * ceil_div(w.out, P.columns)),
          .block = unsigned(Tile::threads),
          .shared_bytes = int(sizeof(typename Tile::Shared)),
          .stream = ctx.stream},
         gemm::Operands<std::byte, Result>{x.data, x.stride, w.memory().data, int(w.in),
                                           epilogue::Target<Result>(epilogue, y, int(w.out))});
}

}  // namespace detail::scaled_gemm

// ---- launchers --------------------------------------------------------------------------------------
/// With policy P; w's format is q8_0 or awq, and rows of x are whole 16-byte copies.
template <GemmPolicy P, class Result>
void scaled_gemm(Context& ctx, Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  assert((w.format() == Format::q8_0 || w.format() == Format::awq) && in_packs<8>(x));
  if (x.count == 0 || w.out == 0) return;
  if (w.format() == Format::q8_0) return detail::scaled_gemm::run<P, Q8_0>(ctx, x, w, epilogue, y);
  detail::scaled_gemm::run<P, Awq>(ctx, x, w, epilogue, y);
}

/// With a policy that choose_linear gave.
template <class Result>
void scaled_gemm(Context& ctx, const GemmPolicy& policy, Rows<const bf16> x, const PlacedMatrix& w,
                 const Epilogue& epilogue, Rows<Result> y) {
  if (policy == few_gemm) return scaled_gemm<few_gemm>(ctx, x, w, epilogue, y);
  scaled_gemm<scaled_gemm_policy>(ctx, x, w, epilogue, y);
}

}  // namespace ivl::cuda
