// The bodies of reduce.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/epilogue.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/reduce.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <class Result>
void finish_sums(Context& ctx, Rows<const float> sums, const Epilogue& epilogue, Rows<Result> y) {
  constexpr std::int64_t piece = 512;  // columns of a task
  assert(sums.count == y.count && sums.width() == y.width() && epilogue.kind != EpilogueKind::swi_glu);
  const std::int64_t pieces = ceil_div(y.width(), piece);
  ctx.pool.run(y.count * pieces, [&](std::int64_t task) {
    const std::int64_t row = task / pieces, begin = task % pieces * piece, end = std::min(begin + piece, y.width());
    for (std::int64_t column = begin; column < end; column += lanes) {
      const std::int64_t number = std::min<std::int64_t>(lanes, end - column);
      detail::finish(epilogue, load_first(sums[row] + column, number), column, number, y[row]);
    }
  });
}

IVL_INLINE void best_of_part(Context& ctx, Rows<const float> logits, std::int32_t first, BestLogit* best) {
  ctx.pool.run(logits.count, [&](std::int64_t row) {
    const float* x = logits[row];
    BestLogit found;
    for (std::int32_t column = 0; column < std::int32_t(logits.width()) && !std::isnan(found.logit); ++column) {
      if (found.id < 0 || !(x[column] <= found.logit)) found = {x[column], first + column};
    }
    best[row] = found;
  });
}

IVL_INLINE void best_of_parts(Context&, const BestLogit* best, int parts, std::int64_t rows, std::int32_t* ids) {
  for (std::int64_t row = 0; row < rows; ++row) {
    BestLogit found = best[row];
    for (int part = 1; part < parts; ++part) {
      const BestLogit& next = best[part * rows + row];
      if (next.id >= 0 && !std::isnan(found.logit) && (found.id < 0 || !(next.logit <= found.logit))) found = next;
    }
    ids[row] = found.logit > -std::numeric_limits<float>::infinity() ? found.id : -1;
  }
}

#ifdef IVL_COMPILED
template void finish_sums(Context&, Rows<const float>, const Epilogue&, Rows<float>);
template void finish_sums(Context&, Rows<const float>, const Epilogue&, Rows<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
