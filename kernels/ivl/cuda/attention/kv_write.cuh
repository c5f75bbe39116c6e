// Keys and values into their pages (see ops/attention.hpp for the contracts, kv_layout.cuh for pages).
//
//   cache_keys         keys and values as they are
//   rotate_and_cache   q, k <- rope(norm(q, k)): per head n = gain x / sqrt(mean(x^2) + eps), or x where gain is null;
//                      y_i = n_i cos_i - n_(i + d/2) sin_i,  y_(i + d/2) = n_(i + d/2) cos_i + n_i sin_i,  d = head_dim
//
//   qkv     [rows, (heads + 2 kv_heads) head_dim]   bf16 or float, rows aligned to 16 bytes; q is rotated in place
//   angles  [rows, head_dim]                        float, rows aligned to 16 bytes: cosines, then sines
//   gains   [head_dim]                              float, aligned to 16 bytes
//
// One pass: every scalar of qkv is read once and written once, q where it was, keys and values into pages. A thread
// holds 16 bytes of a head's first half and the 16 bytes of the second half that they are rotated with; 1 to 32 threads
// are a head, and the sum of squares is theirs in a fixed order, so a row's bits do not depend on the others. Each row
// of angles comes from memory once and to its heads from the first cache.
//
// Device memory moves 2 rows (heads + 2 kv_heads) head_dim sizeof(Scalar) bytes and 4 rows head_dim of angles.
// Registers at most 72 a thread, no spills. Goal: 85 % of the copy bandwidth; not yet measured.
#pragma once
#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/attention/choose.hpp"
#include "ivl/cuda/attention/kv_layout.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/runtime/reduce.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/attention.hpp"

namespace ivl::IVL_CUDA {

// ---- device code ------------------------------------------------------------------------------------
namespace detail::kv_write {

/// Blocks (row, part of the row): a thread 16 bytes of a key or value.
template <class Scalar, class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    cache_keys_kernel(AttentionShape shape, const Scalar* __restrict__ qkv, std::int64_t stride, Batch batch,
                      KvView kv) {
  constexpr int pack_scalars = 16 / int(sizeof(Scalar));
  using Values = Pack<Scalar, pack_scalars>;
  const int row = int(blockIdx.x), kv_width = shape.kv_heads * shape.head_dim;
  const int column = (int(blockIdx.y) * Policy::value.threads_per_block + int(threadIdx.x)) * pack_scalars;
  if (column >= 2 * kv_width) return;
  const Values values = *reinterpret_cast<const Values*>(qkv + row * stride + shape.heads * shape.head_dim + column);
  const bool is_value = column >= kv_width;
  const int in_width = is_value ? column - kv_width : column;
  const KvHead<Scalar> head(shape, kv, batch.sequence_of[row], in_width / shape.head_dim);
  Scalar* to = head.key(batch.positions[row]) + (is_value ? head.to_values() : 0);
  *reinterpret_cast<Values*>(to + in_width % shape.head_dim) = values;
}

template <int Number>
__device__ inline void load_floats(const float* from, float (&to)[Number]) {
#pragma unroll
  for (int i = 0; i < Number; i += 4) {
    const auto some = *reinterpret_cast<const Pack<float, 4>*>(from + i);
#pragma unroll
    for (int k = 0; k < 4; ++k) to[i + k] = some.values[k];
  }
}

/// Blocks (row, part of the row). `threads_per_head` is a power of two; the last of them have nothing where the head's
/// packs are none. All that a thread loads it asks for before it needs any of it: with one row, latency is all there
/// is.
template <class Scalar, class Policy>
__global__ void __launch_bounds__(Policy::value.threads_per_block)
    rotate_and_cache_kernel(AttentionShape shape, int threads_per_head, HeadNorm norm, const float* __restrict__ angles,
                            std::int64_t angles_stride, Scalar* qkv, std::int64_t stride, Batch batch, KvView kv) {
  constexpr int number = 16 / int(sizeof(Scalar));  // scalars of each half
  using Values = Pack<Scalar, number>;
  const int row = int(blockIdx.x), half_dim = shape.head_dim / 2;
  const int item = int(blockIdx.y) * Policy::value.threads_per_block + int(threadIdx.x);
  const int head = item / threads_per_head, column = item % threads_per_head * number;
  const bool mine = head < shape.heads + 2 * shape.kv_heads && column < half_dim;
  const bool is_query = head < shape.heads, is_value = head >= shape.heads + shape.kv_heads;
  const float* const gain = is_query ? norm.query_gain : is_value ? nullptr : norm.key_gain;

  Values first = {}, second = {};
  Scalar* to = nullptr;
  float cosines[number], sines[number], first_gain[number], second_gain[number];
  if (mine) {
    Scalar* const from = qkv + row * stride + head * shape.head_dim + column;
    first = *reinterpret_cast<const Values*>(from);
    second = *reinterpret_cast<const Values*>(from + half_dim);
    if (!is_value) {
      load_floats(angles + row * angles_stride + column, cosines);
      load_floats(angles + row * angles_stride + half_dim + column, sines);
    }
    if (gain) {
      load_floats(gain + column, first_gain);
      load_floats(gain + half_dim + column, second_gain);
    }
    to = from;
    if (!is_query) {
      const int kv_head = head - shape.heads - (is_value ? shape.kv_heads : 0);
      const KvHead<Scalar> place(shape, kv, batch.sequence_of[row], kv_head);
      to = place.key(batch.positions[row]) + (is_value ? place.to_values() : 0) + column;
    }
  }

  float factor = 1;
  if (norm.query_gain || norm.key_gain) {  // all threads: they sum together
    float squares = 0;
#pragma unroll
    for (int i = 0; i < number; ++i) {
      const float a = prim::widen(first.values[i]), b = prim::widen(second.values[i]);
      squares += a * a + b * b;
    }
    for (int distance = threads_per_head / 2; distance > 0; distance /= 2)
      squares += __shfl_xor_sync(whole_warp, squares, distance);
    factor = 1 / sqrtf(squares / float(shape.head_dim) + norm.eps);
  }
  if (!mine) return;

  if (!is_value) {
#pragma unroll
    for (int i = 0; i < number; ++i) {
      float a = prim::widen(first.values[i]), b = prim::widen(second.values[i]);
      if (gain) {
        a *= factor * first_gain[i];
        b *= factor * second_gain[i];
      }
      first.values[i] = prim::narrow<Scalar>(a * cosines[i] - b * sines[i]);
      second.values[i] = prim::narrow<Scalar>(b * cosines[i] + a * sines[i]);
    }
  }
  *reinterpret_cast<Values*>(to) = first;
  *reinterpret_cast<Values*>(to + half_dim) = second;
}

template <int PackScalars, class Scalar>
void check_shapes(const char* op, const AttentionShape& shape, Rows<const Scalar> qkv, const Batch& batch) {
  expect(shape.head_dim % 16 == 0, op, " on CUDA: expected heads of a multiple of 16 scalars, found ", shape.head_dim);
  const std::int64_t width = shape.query_width() + 2 * shape.kv_width();
  expect(qkv.width() == width && qkv.count >= batch.rows && in_packs<PackScalars>(qkv), op, " on CUDA: expected qkv [",
         batch.rows, ", ", width, "] in rows that start at multiples of 16 bytes, found [", qkv.count, ", ",
         qkv.width(), "], ", qkv.stride, " from row to row");
}

}  // namespace detail::kv_write

// ---- launchers --------------------------------------------------------------------------------------
/// Throws RequestError for heads and rows that the kernels do not take.
template <KvWritePolicy P = KvWritePolicy{}, class Scalar>
void cache_keys(Context& ctx, const AttentionShape& shape, Rows<const Scalar> qkv, const Batch& batch,
                const KvView& kv) {
  static_assert(MultipleOf<P.threads_per_block, 32>, "KvWritePolicy: threads_per_block must be whole warps");
  constexpr int pack_scalars = 16 / int(sizeof(Scalar));
  detail::kv_write::check_shapes<pack_scalars>("cache_keys", shape, qkv, batch);
  if (batch.rows == 0) return;
  const std::int64_t threads = 2 * shape.kv_width() / pack_scalars;
  launch(detail::kv_write::cache_keys_kernel<Scalar, Constant<P>>,
         {.grid = {unsigned(batch.rows), unsigned(ceil_div(threads, P.threads_per_block))},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         shape, qkv.data, qkv.stride, batch, kv);
}

/// Throws RequestError for heads, rows and angles that the kernels do not take.
template <KvWritePolicy P = KvWritePolicy{}, class Scalar>
void rotate_and_cache(Context& ctx, const AttentionShape& shape, const HeadNorm& norm, Rows<const float> angles,
                      Rows<Scalar> qkv, const Batch& batch, const KvView& kv) {
  static_assert(MultipleOf<P.threads_per_block, 32>, "KvWritePolicy: threads_per_block must be whole warps");
  constexpr int pack_scalars = 16 / int(sizeof(Scalar));
  detail::kv_write::check_shapes<pack_scalars>("rotate_and_cache", shape, Rows<const Scalar>(qkv), batch);
  expect(shape.head_dim <= 256, "rotate_and_cache on CUDA: expected heads of at most 256 scalars, found ",
         shape.head_dim);
  expect(angles.width() == shape.head_dim && angles.count >= batch.rows && in_packs<4>(angles),
         "rotate_and_cache on CUDA: expected angles [", batch.rows, ", ", shape.head_dim,
         "] in rows that start at multiples of 16 bytes, found [", angles.count, ", ", angles.width(), "], ",
         angles.stride, " from row to row");
  if (batch.rows == 0) return;
  const int threads_per_head = int(std::bit_ceil(unsigned(ceil_div(shape.head_dim / 2, pack_scalars))));
  const std::int64_t threads = std::int64_t(threads_per_head) * (shape.heads + 2 * shape.kv_heads);
  launch(detail::kv_write::rotate_and_cache_kernel<Scalar, Constant<P>>,
         {.grid = {unsigned(batch.rows), unsigned(ceil_div(threads, P.threads_per_block))},
          .block = unsigned(P.threads_per_block),
          .stream = ctx.stream},
         shape, threads_per_head, norm, angles.data, angles.stride, qkv.data, qkv.stride, batch, kv);
}

}  // namespace ivl::IVL_CUDA
