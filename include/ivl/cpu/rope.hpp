// Angles of the rotary embedding (see ops/rope.hpp for the contract).
#pragma once
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/facts/rope.hpp"
#include "ivl/ops/rope.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

void rope_angles(Context& ctx, const RopeFacts& facts, const std::int32_t* positions, const std::int32_t* rope_lengths,
                 Rows<float> angles);

static_assert(RopeOp<Context>);

namespace detail {

/// The base for a row whose sequence has `length` tokens, in float as transformers computes it.
float rope_base(const RopeFacts& facts, int head_dim, std::int32_t length);

/// f[i] = 1 / base^(2 i / head_dim), each step rounded to float as transformers does.
void inverse_frequencies(float base, int head_dim, float* f);

/// The frequencies of YaRN, each step rounded to float as transformers does.
void yarn_frequencies(const RopeFacts& facts, int head_dim, float* f);

}  // namespace detail

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/rope.ipp"
#endif
