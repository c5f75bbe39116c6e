// Choosing tokens (see ops/sample.hpp for the contract).
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>

#include "ivl/core/rows.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

inline void argmax(Context& ctx, Rows<const float> logits, std::int32_t* ids) {
  assert(logits.width() > 0);
  ctx.pool.run(logits.count, [&](std::int64_t row) {
    const float* x = logits[row];
    ids[row] = std::int32_t(std::max_element(x, x + logits.width()) - x);
  });
}

static_assert(SampleOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
