// Grouped-query attention over pages of keys and values.
//
//   qkv [rows, (heads + 2 kv_heads) head_dim]   queries, then keys, then values; head h owns columns [h d, (h + 1) d)
//   y   [rows, heads head_dim]                  y_h = softmax(head_dim^-1/2 q_h K^T) V, with the keys of head h /
//   (heads / kv_heads) sinks [heads], or null                      one more score of each head, which takes part in the
//   softmax and has no value (GPT-OSS)
//
// Scores, softmax and sums are float; probabilities may be rounded to the activations' scalar before they meet V.
// The order of every sum depends on a row's own key positions alone, so neither chunks nor neighbours change a bit.
#pragma once
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/facts/attention_shape.hpp"
#include "ivl/ops/batch.hpp"

namespace ivl {

enum class Mask : std::uint8_t {
  full,    ///< every row sees every key of its sequence (vision)
  causal,  ///< a row at position p sees keys 0 ... p
};

/// RMSNorm over each head's own vector before the rotation (Qwen3); null gains leave it out (Qwen2.5).
struct HeadNorm {
  const float* query_gain = nullptr;  ///< [head_dim]
  const float* key_gain = nullptr;    ///< [head_dim]
  float eps = 0;
};

/// What a backend offers:
///   kv_page_bytes(ctx, shape, scalar, page_tokens)      bytes of one page of one layer
///   cache_keys(ctx, shape, qkv, batch, kv)              keys and values of the rows into their pages (vision)
///   rotate_and_cache(ctx, shape, norm, angles, qkv, batch, kv)
///       q, k <- rope(norm(q, k)); q stays in qkv; keys and values go into their pages
///       angles [rows, head_dim]: cos of the head_dim / 2 angles, then sin; half-split pairs (i, i + head_dim / 2)
///   attention(ctx, shape, mask, sinks, queries, batch, kv, y)  queries: the first columns of qkv
template <class Context, class Scalar>
concept AttentionOps =
    requires(Context& ctx, const AttentionShape& shape, const HeadNorm& norm, Rows<const Scalar> read,
             Rows<Scalar> write, Rows<const float> angles, const Batch& batch, const KvView& kv, const float* sinks) {
      { kv_page_bytes(ctx, shape, kind_of<Scalar>, 64) } -> std::same_as<std::int64_t>;
      cache_keys(ctx, shape, read, batch, kv);
      rotate_and_cache(ctx, shape, norm, angles, write, batch, kv);
      attention(ctx, shape, Mask::causal, sinks, read, batch, kv, write);
    };

template <AttentionShape Shape, class Context, class Scalar>
void cache_keys(Context& ctx, Rows<Scalar, Shape.qkv_width()> qkv, const Batch& batch, const KvView& kv) {
  cache_keys(ctx, Shape, Rows<const std::remove_const_t<Scalar>>(qkv), batch, kv);
}

template <AttentionShape Shape, class Context, class Scalar>
void rotate_and_cache(Context& ctx, const HeadNorm& norm,
                      std::type_identity_t<Rows<const float, Shape.head_dim>> angles,
                      Rows<Scalar, Shape.qkv_width()> qkv, const Batch& batch, const KvView& kv) {
  rotate_and_cache(ctx, Shape, norm, Rows<const float>(angles), Rows<Scalar>(qkv), batch, kv);
}

/// `window` is no part of `Shape`: layers that differ in it alone are one type.
template <AttentionShape Shape, class Context, class Scalar>
void attention(Context& ctx, Mask mask, Rows<Scalar, Shape.qkv_width()> qkv, const Batch& batch, const KvView& kv,
               Rows<Scalar, Shape.query_width()> y, const float* sinks = nullptr, int window = 0) {
  AttentionShape shape = Shape;
  shape.window = window;
  attention(ctx, shape, mask, sinks, Rows<const Scalar>(qkv.template columns<0, Shape.query_width()>()), batch, kv,
            Rows<Scalar>(y));
}

}  // namespace ivl
