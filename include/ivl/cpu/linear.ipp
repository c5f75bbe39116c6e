// The bodies of linear.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/epilogue.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/linear.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// A tile of sums becomes columns of y.
template <class Result>
void finish_tile(const Epilogue& epilogue, const float* sums, const ColumnTile& tile, Rows<Result> y) {
  for (std::int64_t row = 0; row < y.count; ++row, sums += group_columns) {
    const float* from = sums;
    for (std::int64_t column = tile.column; column < tile.end; column += panel_columns, from += tile.step) {
      Lanes u = Lanes::load(from);
      if (epilogue.kind == EpilogueKind::swi_glu) u = silu(u) * Lanes::load(from + tile.up);
      finish(epilogue, u, column, tile.end - column, y[row]);
    }
  }
}

}  // namespace detail

template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  assert(w.in > 0 && x.width() == w.in && y.count == x.count && y.width() == (gated ? w.out / 2 : w.out));
  assert(gated == (w.fusion == Fusion::interleaved));  // the columns lie otherwise
  assert(!gated || (!epilogue.bias && !epilogue.scale));
  (void)gated;
  if (x.count == 0 || w.out == 0) return;
  detail::Readable<Scalar> readable(x, w, ctx.numbers());
  readable.prepare(ctx, ctx.template scratch<std::byte>(readable.room()));
  const std::int64_t groups = detail::groups_of(w);
  const std::int64_t chunks = ceil_div(x.count, detail::most_task_rows<Scalar>(w));
  const std::int64_t chunk_rows = round_up(ceil_div(x.count, chunks), tile_rows);
  ctx.pool.run(chunks * groups, [&](std::int64_t task) {
    alignas(line_bytes) float sums[detail::task_rows * detail::group_columns];
    const std::int64_t first = task / groups * chunk_rows, rows = std::min(chunk_rows, x.count - first);
    const detail::ColumnTile tile = detail::multiply_columns(
        readable, w, 0, task % groups, rows, [=](std::int64_t row) { return first + row; }, sums);
    detail::finish_tile(epilogue, sums, tile, y.slice(first, rows));
  });
}

#ifdef IVL_COMPILED
template void linear(Context&, Rows<const float>, const PlacedMatrix&, const Epilogue&, Rows<float>);
template void linear(Context&, Rows<const bf16>, const PlacedMatrix&, const Epilogue&, Rows<bf16>);
template void linear(Context&, Rows<const bf16>, const PlacedMatrix&, const Epilogue&, Rows<float>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
