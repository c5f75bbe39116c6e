// y = epilogue(x W^T) on panels (see panel_format.hpp for the layout, ops/linear.hpp for the contract).
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ---- epilogue --------------------------------------------------------------------------
/// u / (1 + e^-u). Below -88, where that is -5e-37, it stays there.
inline Lanes silu(Lanes u) {
  u = max(Lanes::of(-88), u);
  return u / (Lanes::of(1) + exp(Lanes::zero() - u));
}

/// u Phi(u), where Phi(-|u|) = erfc(a) / 2 with a = |u| / sqrt 2.
inline Lanes gelu(Lanes u) {
  // erfc(a) = e^(-a^2) t q(t) with t = 1 / (1 + 0.35 a): q interpolates it at the Chebyshev nodes of 0 <= a <= 10
  // within 2.8e-8 of its value. The tail is a product, so it keeps its relative precision where 1 + erf would cancel.
  constexpr float q[] = {0.19748926162719727f,  0.19703073799610138f, 0.18880639970302582f,   0.14691577851772308f,
                         0.15855468809604645f,  0.0634051114320755f,  0.0010456122690811753f, 0.15964122116565704f,
                         -0.14954353868961334f, 0.03665472939610481f};
  // At 20 the tail is 0 already, and nothing overflows.
  const Lanes size = min(Lanes::of(20), abs(u)), half_size = Lanes::of(0.5f) * size;
  const Lanes t = Lanes::of(1) / fma(size, Lanes::of(0.35f * 0.70710678f), Lanes::of(1));
  Lanes p = Lanes::of(q[9]);
#pragma GCC unroll 9
  for (int i = 8; i >= 0; --i) p = fma(p, t, Lanes::of(q[i]));
  // e^(-a^2), with what the rounding of a^2 lost.
  const Lanes lost = product_error(half_size, size);
  const Lanes power = exp(Lanes::zero() - half_size * size);
  const Lanes tail = half_size * (t * p) * fma(power, Lanes::zero() - lost, power);
  return max(Lanes::zero(), u) - tail;
}

/// Up to 16 columns of a row, from `column` on: the sums in `u` leave through the epilogue.
template <class Result>
void finish(const Epilogue& epilogue, Lanes u, std::int64_t column, std::int64_t number, Result* y) {
  const bool whole = number >= lanes;
  const auto read = [=](const auto* from) {
    return whole ? Lanes::load(from + column) : load_first(from + column, number);
  };
  if (epilogue.bias) u = u + read(epilogue.bias);
  if (epilogue.scale) u = u * read(epilogue.scale);
  if (epilogue.kind == EpilogueKind::gelu) u = gelu(u);
  if (epilogue.kind == EpilogueKind::add) u = read(y) + u;
  whole ? u.store(y + column) : store_first(u, y + column, number);
}

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

/// Activations in bf16 or float; a float row is never rounded. The sums of bf16 activations and of weights that are
/// bf16 or MXFP4 are made of `vdpbf16ps` where there is one, all others of fused multiply-adds.
template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  assert(w.in > 0 && x.width() == w.in && y.count == x.count && y.width() == (gated ? w.out / 2 : w.out));
  assert(gated == (w.fusion == Fusion::interleaved));  // the columns lie otherwise
  assert(!gated || (!epilogue.bias && !epilogue.scale));
  (void)gated;
  if (x.count == 0 || w.out == 0) return;
  detail::Readable<Scalar> readable(x, w);
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

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
