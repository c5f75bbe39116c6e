// attention: y_h = softmax(head_dim^-1/2 q_h K^T) V over pages of keys and values (ops/attention.hpp, kv_layout.cuh).
//
//   queries  [rows, heads head_dim]   bf16 or float
//   y        [rows, heads head_dim]   the same scalar
//   sinks    [heads] float, or null
//
// bf16 with head_dim 32, 64 or 128 goes through tensor cores, by two kernels that share sm80_tile.cuh:
//
//   sm80_prefill.cuh   many rows of a sequence: 4 rows heads length head_dim flops (half of that if causal)
//   sm80_split.cuh     few rows: the keys are split over blocks; 4 length kv_heads head_dim bytes a sequence
//
// A step with more rows than sequences launches both, and on the device each sequence finds its rows cut: whole tiles
// for the first, up to 16 rows that are over for the second. Launches depend on batch.rows, sequences and longest only;
// rows that no sequence has are left alone. All else goes to plain.cuh, which is only right.
//
// Bits: a row of a causal mask has the same bits whatever stands beside it, however its prompt was cut into chunks, and
// whichever of the two kernels had it, since both take its sums in one order (sm80_tile.cuh). Under Mask::full
// only the rows that are over are summed by chunks; which they are depends on how many rows their own sequence has.
//
// Sinks are read once a row, at the end, so a model without them pays nothing; the window is a template argument
// of the prefill kernel, and key blocks outside it are never read.
//
// Goals: split at least 85 % of read bandwidth at 32 sequences; prefill as near as it gets to what mma.sync can reach.
// Not yet measured.
#pragma once
#include <cmath>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/cuda/attention/choose.hpp"
#include "ivl/cuda/attention/plain.cuh"
#include "ivl/cuda/attention/sm80_prefill.cuh"
#include "ivl/cuda/attention/sm80_split.cuh"
#include "ivl/cuda/runtime/pack.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

// ---- launchers --------------------------------------------------------------------------------------
namespace detail::attention {

template <AttentionPolicy P, int HeadDim>
void by_tensor_cores(Context& ctx, const AttentionChoice& choice, const Call<bf16>& call) {
  int block_rows = 0;
  if (choice.kernel == AttentionKernel::prefill_and_split) {
    if (choice.visible == Visible::all) {
      constexpr PrefillPolicy picture = HeadDim <= 64 ? P.picture : P.prefill;
      block_rows = prefill::run<HeadDim, Visible::all, picture>(ctx, call);
    } else if (choice.visible == Visible::causal) {
      block_rows = prefill::run<HeadDim, Visible::causal, P.prefill>(ctx, call);
    } else if constexpr (HeadDim <= 64) {
      block_rows = prefill::run<HeadDim, Visible::window, P.prefill>(ctx, call);
    }
  }
  split::run<HeadDim, P.split>(ctx, call, block_rows);
}

}  // namespace detail::attention

/// Throws ConfigError for shapes that have no pages, see kv_page_bytes.
template <AttentionPolicy P = AttentionPolicy{}, class Scalar>
void attention(Context& ctx, const AttentionShape& shape, Mask mask, const float* sinks, Rows<const Scalar> queries,
               const Batch& batch, const KvView& kv, Rows<Scalar> y) {
  const std::int64_t page_bytes = kv_page_bytes(ctx, shape, kind_of<Scalar>, kv.page_tokens);
  expect(kv.page_bytes == page_bytes, "attention on CUDA: expected pages of ", page_bytes, " bytes, found ",
         kv.page_bytes);
  expect(queries.width() == shape.query_width() && y.width() == shape.query_width(),
         "attention on CUDA: expected queries and y of ", shape.query_width(), " scalars a row, found ",
         queries.width(), " and ", y.width());
  expect(queries.count >= batch.rows && y.count >= batch.rows, "attention on CUDA: expected queries and y of at least ",
         batch.rows, " rows, found ", queries.count, " and ", y.count);
  if (batch.rows == 0) return;
  const float scale = float(1.4426950408889634 / std::sqrt(double(shape.head_dim)));  // 1 / ln 2
  const detail::attention::Call<Scalar> call = {shape,          shape.group(), scale,    mask,  sinks, queries.data,
                                                queries.stride, y.data,        y.stride, batch, kv};
  const AttentionProblem problem{shape, mask, batch.rows, batch.sequences, kind_of<Scalar>};
  const AttentionChoice choice = choose_attention(ctx.device.compute_capability, problem, P);
  if constexpr (std::is_same_v<Scalar, bf16>) {
    if (choice.kernel != AttentionKernel::plain) {
      expect(
          in_packs<4>(queries) && in_packs<4>(y) && aligned(kv.pages, 16),
          "attention on CUDA: expected rows of queries and y that start at multiples of 8 bytes, and pages at one of "
          "16; found strides of ",
          queries.stride, " and ", y.stride, " scalars");
      if (shape.head_dim == 32) return detail::attention::by_tensor_cores<P, 32>(ctx, choice, call);
      if (shape.head_dim == 64) return detail::attention::by_tensor_cores<P, 64>(ctx, choice, call);
      return detail::attention::by_tensor_cores<P, 128>(ctx, choice, call);
    }
  }
  detail::plain_attention::run(ctx, call);
}

}  // namespace ivl::IVL_CUDA
