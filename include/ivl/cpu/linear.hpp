// y = epilogue(x W^T) on panels (see panels.hpp for the layout, ops/linear.hpp for the contract).
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ---- policy --------------------------------------------------------------------------
/// Panels of one task: 64 columns.
inline constexpr int group_panels = 4;
inline constexpr int group_columns = group_panels * panel_columns;
/// Rows of one task.
inline constexpr int task_rows = 96;
/// Of many rows' product, so much of the weights is worked with at a time: it stays in the first cache.
inline constexpr int block_bytes = 32 << 10;
/// From so many rows on, weights that are not stored as the multiply-add wants them are converted once a task.
inline constexpr int rows_worth_widening = 3 * tile_rows;

// ---- epilogue --------------------------------------------------------------------------
/// u / (1 + e^-u)
inline Lanes silu(Lanes u) { return u / (Lanes::of(1) + exp(Lanes::zero() - u)); }

/// u Phi(u), where Phi(-|u|) = erfc(a) / 2 with a = |u| / sqrt 2.
inline Lanes gelu(Lanes u) {
  // erfc(a) = e^(-a^2) t q(t) with t = 1 / (1 + 0.35 a): q interpolates it at the Chebyshev nodes of 0 <= a <= 10 within
  // 2.8e-8 of its value. The tail is a product, so it keeps its relative precision where 1 + erf would cancel.
  constexpr float q[] = {0.19748926162719727f,   0.19703073799610138f, 0.18880639970302582f,  0.14691577851772308f,
                         0.15855468809604645f,   0.0634051114320755f,  0.0010456122690811753f, 0.15964122116565704f,
                         -0.14954353868961334f, 0.03665472939610481f};
  const Lanes size = abs(u), half_size = Lanes::of(0.5f) * size;
  const Lanes t = Lanes::of(1) / fma(size, Lanes::of(0.35f * 0.70710678f), Lanes::of(1));
  Lanes p = Lanes::of(q[9]);
#pragma GCC unroll 9
  for (int i = 8; i >= 0; --i) p = fma(p, t, Lanes::of(q[i]));
  // a^2 and what its rounding lost.
  const Lanes square = half_size * size, lost = fma(half_size, size, Lanes::zero() - square);
  const Lanes power = exp(Lanes::zero() - square);
  const Lanes tail = half_size * (t * p) * fma(power, Lanes::zero() - lost, power);
  return max(Lanes::zero(), u) - tail;
}

/// Up to 16 columns of a row, from `column` on: the sums in `u` leave through the epilogue.
template <class Result>
void finish(const Epilogue& epilogue, Lanes u, std::int64_t column, std::int64_t number, Result* y) {
  const bool whole = number >= lanes;
  const auto read = [=](const auto* from) { return whole ? Lanes::load(from + column) : load_first(from + column, number); };
  if (epilogue.bias) u = u + read(epilogue.bias);
  if (epilogue.scale) u = u * read(epilogue.scale);
  if (epilogue.kind == EpilogueKind::gelu) u = gelu(u);
  if (epilogue.kind == EpilogueKind::add) u = read(y) + u;
  whole ? u.store(y + column) : store_first(u, y + column, number);
}

/// A tile of sums [rows, group_columns] becomes columns of y. The first panel is `panel`.
template <class Result>
void finish_tile(const Epilogue& epilogue, const float* tile, std::int64_t panel, std::int64_t panels, Rows<Result> y) {
  const std::int64_t step = epilogue.kind == EpilogueKind::swi_glu ? 2 : 1;
  for (std::int64_t row = 0; row < y.count; ++row) {
    for (std::int64_t p = 0; p < panels; p += step) {
      const float* sums = tile + row * group_columns + p * panel_columns;
      const std::int64_t column = (panel + p) / step * panel_columns;
      Lanes u = Lanes::load(sums);
      if (step == 2) u = silu(u) * Lanes::load(sums + panel_columns);
      finish(epilogue, u, column, y.width() - column, y[row]);
    }
  }
}

// ---- product --------------------------------------------------------------------------
/// Rows that the micro-kernel can read: x itself, or a copy as `Factor` with zeros up to a whole depth_unit.
template <class Factor, class Scalar>
Rows<const Factor> readable(Context& ctx, Rows<const Scalar> x, std::int64_t depth) {
  if constexpr (std::is_same_v<Factor, Scalar>) {
    if (x.width() == depth) return x;
  }
  // One line more than the row, so that rows do not fall into the same cache sets.
  const std::int64_t stride = round_up(depth, lanes) + lanes;
  Factor* copy = ctx.scratch<Factor>(x.count * stride);
  const auto copy_row = [&](std::int64_t row) {
    const Scalar* from = x[row];
    Factor* to = copy + row * stride;
    if constexpr (std::is_same_v<Factor, Scalar>) {
      std::copy_n(from, x.width(), to);
    } else {
      std::int64_t i = 0;
      for (; i + lanes <= x.width(); i += lanes) Lanes::load(from + i).store(to + i);
      for (; i < x.width(); ++i) to[i] = to_float(from[i]);
    }
    std::fill(to + x.width(), to + depth, Factor{});
  };
  if (x.count <= tile_rows) {
    for (std::int64_t row = 0; row < x.count; ++row) copy_row(row);
  } else {
    ctx.pool.run(x.count, copy_row);
  }
  return {copy, x.count, depth, stride};
}

/// Panels of 2-byte scalars become panels of floats, `depth` (a whole number of depth_unit) of each.
template <Format format>
void widen_panels(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t depth, float* to) {
  for (std::int64_t p = 0; p < number; ++p, panels += panel_stride, to += depth * panel_columns) {
    if constexpr (format == Format::bf16) {
      const auto* from = reinterpret_cast<const bf16*>(panels);
      for (std::int64_t k = 0; k < depth; k += 2) {
        Lanes::load_even(from + k * panel_columns).store(to + k * panel_columns);
        Lanes::load_odd(from + k * panel_columns).store(to + (k + 1) * panel_columns);
      }
    } else {
      const auto* from = reinterpret_cast<const half*>(panels);
      for (std::int64_t k = 0; k < depth; ++k) Lanes::load(from + k * panel_columns).store(to + k * panel_columns);
    }
  }
}

/// Many rows against the panels of a group: sums [x.count, group_columns]. Blocks of k are the outer loop, so that a block
/// of the weights meets all rows out of the first cache; the sums wait in memory meanwhile, which changes no bit.
template <Format format, class Factor>
void multiply_many(Rows<const Factor> x, const std::byte* panels, std::int64_t panel_stride, std::int64_t number, float* sums) {
  constexpr bool widen = format != Format::f32 && std::is_same_v<Factor, float>;
  constexpr Format used = widen ? Format::f32 : format;
  constexpr int block = block_bytes / int(panel_bytes(used, 1) / depth_unit(used) * group_panels);
  alignas(64) float wide[widen ? block_bytes / 4 : 1];
  for (std::int64_t k = 0; k < x.width(); k += block) {
    const std::int64_t depth = std::min<std::int64_t>(block, x.width() - k);
    const std::byte* from = panels + panel_bytes(format, k);
    std::int64_t stride = panel_stride;
    if constexpr (widen) {
      widen_panels<format>(from, stride, number, depth, wide);
      from = reinterpret_cast<const std::byte*>(wide);
      stride = panel_bytes(used, depth);
    }
    for (std::int64_t row = 0; row < x.count; row += tile_rows) {
      const int rows = int(std::min<std::int64_t>(tile_rows, x.count - row));
      multiply_rows<used>(rows, x[row] + k, x.stride, from, stride, number, depth, sums + row * group_columns,
                          group_columns, k == 0 ? Start::zero : Start::tile);
    }
  }
}

/// Few rows: the weights stream past them as they are stored.
template <Format format, class Factor>
void multiply_few(Rows<const Factor> x, const std::byte* panels, std::int64_t panel_stride, std::int64_t number, float* sums) {
  for (std::int64_t row = 0; row < x.count; row += tile_rows) {
    const int rows = int(std::min<std::int64_t>(tile_rows, x.count - row));
    multiply_rows<format>(rows, x[row], x.stride, panels, panel_stride, number, x.width(), sums + row * group_columns,
                          group_columns);
  }
}

template <Format format, class Scalar, class Result>
void multiply_finish(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  using Factor = cpu::Factor<format, Scalar>;
  const Rows<const Factor> all = readable<Factor>(ctx, x, round_up(w.in, depth_unit(format)));
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  const std::int64_t panels = gated ? 2 * ceil_div(w.out / 2, panel_columns) : ceil_div(w.out, panel_columns);
  const std::int64_t stride = panel_bytes(format, w.in);
  const std::int64_t groups = ceil_div(panels, group_panels), chunks = ceil_div(x.count, task_rows);
  ctx.pool.run(chunks * groups, [&](std::int64_t task) {
    alignas(64) float sums[task_rows * group_columns];
    const std::int64_t panel = task % groups * group_panels, number = std::min<std::int64_t>(group_panels, panels - panel);
    const std::int64_t row = task / groups * task_rows, rows = std::min<std::int64_t>(task_rows, x.count - row);
    const std::byte* from = w.memory.data + panel * stride;
    if (rows < rows_worth_widening) {
      multiply_few<format>(all.slice(row, rows), from, stride, number, sums);
    } else {
      multiply_many<format>(all.slice(row, rows), from, stride, number, sums);
    }
    finish_tile(epilogue, sums, panel, number, y.slice(row, rows));
  });
}

}  // namespace detail

/// Activations in bf16 or float; a float row is never rounded. The sums of bf16 activations and weights are made of
/// `vdpbf16ps` where there is one, of fused multiply-adds elsewhere.
template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y) {
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  assert(x.width() == w.in && y.count == x.count && y.width() == (gated ? w.out / 2 : w.out));
  assert(!gated || (!epilogue.bias && !epilogue.scale));
  (void)gated;
  switch (w.format) {
    case Format::bf16: return detail::multiply_finish<Format::bf16>(ctx, x, w, epilogue, y);
    case Format::f16: return detail::multiply_finish<Format::f16>(ctx, x, w, epilogue, y);
    case Format::f32: return detail::multiply_finish<Format::f32>(ctx, x, w, epilogue, y);
  }
}

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
