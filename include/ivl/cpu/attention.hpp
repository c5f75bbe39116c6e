// Grouped-query attention on panels (see ops/attention.hpp for the contract, panels.hpp for the micro-kernel).
//
// A page holds, for each kv head, page_tokens keys and then page_tokens values, both ready for the micro-kernel:
//
//          keys: panels of 16 tokens over head_dim       values: panels of 16 dims over tokens
//   bf16   [page_tokens / 16][head_dim / 2][16][2]       [head_dim / 16][page_tokens / 2][16][2]
//   float  [page_tokens / 16][head_dim][16]              [head_dim / 16][page_tokens][16]
//
// Where the CPU multiplies bf16, probabilities are rounded to it before they meet V; elsewhere they stay float. The
// bits are the same however rows, pages, chunks and threads are dealt out (attention_tile.hpp says how). Page pools
// should be in huge pages: few rows read them at the speed of memory, and each run of keys lies in another place.
#pragma once
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/facts/attention_shape.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/batch.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Throws ConfigError for shapes that the other ops here take no care of.
std::int64_t kv_page_bytes(Context&, const AttentionShape& shape, ScalarKind scalar, int page_tokens);

template <class Scalar>
void cache_keys(Context& ctx, const AttentionShape& shape, Rows<const Scalar> qkv, const Batch& batch,
                const KvView& kv);

template <class Scalar>
void rotate_and_cache(Context& ctx, const AttentionShape& shape, const HeadNorm& norm, Rows<const float> angles,
                      Rows<Scalar> qkv, const Batch& batch, const KvView& kv);

template <class Scalar>
void attention(Context& ctx, const AttentionShape& shape, Mask mask, const float* sinks, Rows<const Scalar> queries,
               const Batch& batch, const KvView& kv, Rows<Scalar> y);

static_assert(AttentionOps<Context, float> && AttentionOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/attention.ipp"
#endif
