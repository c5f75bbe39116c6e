// Choosing tokens (see ops/sample.hpp for the contract).
#pragma once
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

void argmax(Context& ctx, Rows<const float> logits, std::int32_t* ids);
void draw(Context& ctx, const Draw* draws, Rows<float> logits, std::int32_t* ids);

static_assert(SampleOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/sample.ipp"
#endif
