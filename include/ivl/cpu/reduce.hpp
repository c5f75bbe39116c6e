// What ranks of one model need beside the ops (see ops/reduce.hpp for the contract).
#pragma once
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// The same lanes and the same operations as in `linear`, so that one summand gives its bits.
template <class Result>
void finish_sums(Context& ctx, Rows<const float> sums, const Epilogue& epilogue, Rows<Result> y);

void best_of_part(Context& ctx, Rows<const float> logits, std::int32_t first, BestLogit* best);
void best_of_parts(Context&, const BestLogit* best, int parts, std::int64_t rows, std::int32_t* ids);

static_assert(ReduceOps<Context, float> && ReduceOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/reduce.ipp"
#endif
