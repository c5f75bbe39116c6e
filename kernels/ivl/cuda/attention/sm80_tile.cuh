// What the kernels of attention.cuh are made of. A warp multiplies 16 rows with keys and values by m16n8k16.
//
// A row is one query head of one token; those of a sequence and a KV head are counted token by token, the heads of the
// group within. So the rows of a group share a tile, and what it sees of the keys grows from row to row.
//
// The sums of a row are taken in an order that its own keys fix: keys come in blocks of 64 that begin at multiples of
// 64, each one step of the online softmax (Milakov and Gimelshein, arXiv 1805.02867); it starts anew at multiples of
// 256, and those chunks are joined in order. Blocks and chunks that hold no key of a row change none of its bits.
// Probabilities are rounded to bf16 before they meet the values, and the rounded ones are summed: as one more column of
// values, all of them ones.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <limits>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/attention/kv_layout.cuh"
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/prim/math.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/prim/opaque.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/attention.hpp"

namespace ivl::IVL_CUDA::detail::attention {

inline constexpr int block_keys = 64;   // one step of the online softmax; four warps load 16 keys each
inline constexpr int chunk_keys = 256;  // what one running softmax sees, and what one block of a split sequence does
inline constexpr int tile_rows = 16;    // of one mma
inline constexpr int threads = 128;
inline constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// What one call works on.
template <class Scalar>
struct Call {
  AttentionShape shape;
  int group;    // query heads that share a KV head
  float scale;  // of scores, which are powers of two then: head_dim^-1/2 / ln 2
  Mask mask;
  const float* sinks;
  const Scalar* queries;
  std::int64_t query_stride;
  Scalar* y;
  std::int64_t y_stride;
  Batch batch;
  KvView kv;
};

// ---- rows -------------------------------------------------------------------------------------------
/// A row: where its query and its result lie, and the keys [begin, end) that it sees.
struct Row {
  int batch_row, head;
  int begin, end;
};

/// Rows [first, first + rows) of one sequence and one KV head.
struct RowTile {
  int sequence = 0, kv_head = 0;
  int first = 0, rows = 0;

  /// Row r; those behind the last are like the last, so that nothing strange is loaded for them.
  template <class Scalar>
  __device__ Row row(const Call<Scalar>& call, int r) const {
    const int index = first + min(r, rows - 1), token = index / call.group;
    const int batch_row = call.batch.row_begin[sequence] + token;
    const int length = call.batch.kv_length[sequence];
    const int position = length - (call.batch.row_begin[sequence + 1] - batch_row);
    const int head = kv_head * call.group + index - token * call.group;
    if (call.mask == Mask::full) return {batch_row, head, 0, length};
    return {batch_row, head, call.shape.window > 0 ? max(0, position + 1 - call.shape.window) : 0, position + 1};
  }
};

/// How many of a sequence's `rows` are over, and left to the split kernel, when the prefill kernel's tiles have
/// `block_rows`: the first ones, if they are few.
__device__ inline int rows_over(int rows, int block_rows) {
  const int over = rows % block_rows;
  return over <= tile_rows ? over : 0;
}

/// Of the tiles of all sequences, where sequence s has `count(s)`, finds number `index`: then `index` is its number in
/// `sequence`. All lanes call together; the answer is the same for all.
template <class Count>
__device__ inline bool find_tile(int sequences, const Count& count, int& index, int& sequence) {
  const int lane = int(threadIdx.x) % 32;
  for (int first = 0; first < sequences; first += 32) {
    const int own = first + lane < sequences ? count(first + lane) : 0;
    int upto = own;
    for (int distance = 1; distance < 32; distance *= 2) {
      const int before = __shfl_up_sync(whole_warp, upto, unsigned(distance));
      if (lane >= distance) upto += before;
    }
    const unsigned behind = __ballot_sync(whole_warp, upto > index);
    if (behind != 0) {
      const int found = __ffs(int(behind)) - 1;
      index -= __shfl_sync(whole_warp, upto - own, found);
      sequence = first + found;
      return true;
    }
    index -= __shfl_sync(whole_warp, upto, 31);
  }
  return false;
}

// ---- shared memory ----------------------------------------------------------------------------------
/// Tiles lie at multiples of this many bytes: a row at most.
inline constexpr int tile_alignment = 256;

/// A row's pieces of 8 scalars are exchanged by the bits of `swizzle(row)`, so that ldmatrix finds the same piece of 8
/// rows in 8 different sets of banks. Addresses of pieces that differ by bits, piece + p = piece ^ p, then differ by
/// those bits too, and so do rows that differ by bits below 8, beside the row's own distance: one register serves many
/// places.
template <int Width>
__device__ constexpr int swizzle(int row) {
  constexpr int pieces = Width / 8;
  return pieces < 8 ? row / (8 / pieces) % pieces : row % 8;
}
template <int Width>
__device__ constexpr int swizzled(int row, int piece) {
  return (row * (Width / 8) + (piece ^ swizzle<Width>(row))) * 8;
}

/// The place of the piece that differs from that of `place` by the bits of `pieces`, in the same row.
template <class T>
__device__ inline T* at_piece(T* place, int pieces) {
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(place) ^ std::uintptr_t(pieces * 16));
}

/// A warp copies 16 rows that follow one another at `from` to rows `row` ... of a tile; zeros instead of those outside
/// [begin, end). If that is all of them, `from` need only be aligned.
template <int HeadDim>
__device__ inline void load_run(bf16* tile, int row, const bf16* from, int begin, int end) {
  constexpr int pieces = HeadDim / 8, rows = 32 / pieces;  // at once
  const int lane = int(threadIdx.x) % 32, first = lane / pieces;
  bf16* const to = prim::opaque(tile + swizzled<HeadDim>(row + first, lane % pieces));
  from += lane * 8;
#pragma unroll
  for (int r = 0; r < kv_page_unit; r += rows) {
    const bool wanted = first + r >= begin && first + r < end;
    prim::cp_async<16>(at_piece(to, swizzle<HeadDim>(r)) + r * HeadDim, from + r * HeadDim, wanted ? 16 : 0);
  }
}

// ---- products ---------------------------------------------------------------------------------------
/// The queries of 16 rows of a tile, from row `first` on, as the left operands of a warp.
template <int HeadDim>
__device__ inline void load_queries(const Call<bf16>& call, const RowTile& tile, int first,
                                    std::uint32_t (&q)[HeadDim / 16][4]) {
  const int lane = int(threadIdx.x) % 32;
#pragma unroll
  for (int low = 0; low < 2; ++low) {
    const Row row = tile.row(call, first + lane / 4 + 8 * low);
    const bf16* from = call.queries + row.batch_row * call.query_stride + row.head * HeadDim + lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < HeadDim / 16; ++k) {
      q[k][low] = *reinterpret_cast<const std::uint32_t*>(from + 16 * k);
      q[k][2 + low] = *reinterpret_cast<const std::uint32_t*>(from + 16 * k + 8);
    }
  }
}

/// What load_keys wants of a tile: the lane's place for the first keys and dims.
template <int HeadDim>
__device__ inline const bf16* lane_keys(const bf16* tile) {
  const int lane = int(threadIdx.x) % 32;
  return tile + swizzled<HeadDim>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

/// Right operands of two products of 8 keys: those of 16 keys from `key` on, over dims 16 k ...
template <int HeadDim>
__device__ inline void load_keys(const bf16* keys, int key, int k, std::uint32_t (&even)[2], std::uint32_t (&odd)[2]) {
  std::uint32_t b[4];
  prim::ldmatrix(b, at_piece(keys, 2 * k) + key * HeadDim);
  even[0] = b[0], even[1] = b[1], odd[0] = b[2], odd[1] = b[3];
}

/// What load_values wants of a tile: the lane's place for the first keys and dims.
template <int HeadDim>
__device__ inline const bf16* lane_values(const bf16* tile) {
  const int lane = int(threadIdx.x) % 32;
  return tile + swizzled<HeadDim>(lane % 16, lane / 16);
}

/// Right operands of two products of 8 dims from `dim` on, a multiple of 16: values of 16 keys from `key` on.
template <int HeadDim>
__device__ inline void load_values(const bf16* values, int key, int dim, std::uint32_t (&even)[2],
                                   std::uint32_t (&odd)[2]) {
  std::uint32_t b[4];
  prim::ldmatrix_transposed(b, at_piece(values, dim / 8) + key * HeadDim);
  even[0] = b[0], even[1] = b[1], odd[0] = b[2], odd[1] = b[3];
}

// ---- softmax ----------------------------------------------------------------------------------------
/// The running softmax of 16 rows over `Dims` of the values, as a warp holds it; lane l has rows l / 4 and l / 4 + 8.
///   sum = sum of 2^(score - max), out = sum of 2^(score - max) v
template <int Dims>
struct Running {
  float max[2] = {minus_infinity, minus_infinity};
  float sum[4] = {};  // as mma leaves it: rows 0, 0, 1, 1
  float out[Dims / 8][4] = {};

  /// Before a block whose highest scores are `highest`: all is in powers of the new max.
  __device__ void raise(const float (&highest)[2]) {
    float fade[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float raised = fmaxf(max[r], highest[r]);
      fade[r] = prim::exp2_approx(max[r] - finite(raised));
      max[r] = raised;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum[i] *= fade[i / 2];
#pragma unroll
      for (int n = 0; n < Dims / 8; ++n) out[n][i] *= fade[i / 2];
    }
  }

  /// The probability of a score of row r.
  __device__ float probability(int r, float score, float scale) const {
    return prim::exp2_approx(fmaf(score, scale, -finite(max[r])));
  }

  __device__ void add_sum(const std::uint32_t (&p)[4]) {
    constexpr std::uint32_t two_ones = 0x3f803f80;  // bf16
    prim::mma_m16n8k16<bf16>(sum, p, {two_ones, two_ones});
  }

  /// A row that has seen no key has no max.
  static __device__ float finite(float max) { return max == minus_infinity ? 0.0f : max; }
};

/// The highest of each row's scores in `Tiles` products of 8 keys.
template <int Tiles>
__device__ inline void highest_scores(const float (&scores)[Tiles][4], float (&highest)[2]) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    highest[r] = minus_infinity;
#pragma unroll
    for (int n = 0; n < Tiles; ++n) highest[r] = fmaxf(highest[r], fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
    highest[r] = fmaxf(highest[r], __shfl_xor_sync(whole_warp, highest[r], 1));
    highest[r] = fmaxf(highest[r], __shfl_xor_sync(whole_warp, highest[r], 2));
  }
}

/// Scores of keys that a row does not see; the first of them all is `key`.
template <int Tiles>
__device__ inline void hide_scores(float (&scores)[Tiles][4], int key, const int (&begin)[2], const int (&end)[2]) {
  const int first = key + int(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int n = 0; n < Tiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = first + 8 * n + i % 2;
      if (at < begin[i / 2] || at >= end[i / 2]) scores[n][i] = minus_infinity;
    }
  }
}

/// Two parts of a row's softmax: total = total * of_total + part * of_part joins them.
struct JoinFactors {
  float of_total, of_part;

  __device__ float join(float total, float part) const { return fmaf(total, of_total, part * of_part); }
};

__device__ inline JoinFactors join_factors(float& total_max, float part_max) {
  const float max = fmaxf(total_max, part_max), finite = max == minus_infinity ? 0.0f : max;
  const JoinFactors factors = {prim::exp2_approx(total_max - finite), prim::exp2_approx(part_max - finite)};
  total_max = max;
  return factors;
}

/// What `out` is multiplied with at the end.
template <class Scalar>
__device__ inline float final_factor(const Call<Scalar>& call, int head, float max, float sum) {
  if (call.sinks == nullptr) return 1 / sum;
  const float sink = call.sinks[head] * 1.4426950408889634f, raised = fmaxf(max, sink);  // 1 / ln 2
  const float fade = prim::exp2_approx(max - raised);
  return fade / fmaf(sum, fade, prim::exp2_approx(sink - raised));
}

}  // namespace ivl::IVL_CUDA::detail::attention
