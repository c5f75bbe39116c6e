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
/// Most rows of one task: the more, the less often weights come from memory.
inline constexpr int task_rows = 192;
/// The rows of a task should stay in the second cache, beside the weights. Sapphire Rapids (2 MiB), 1025 x 4096 -> 1024
/// in float: 143 GFLOP/s a core with 1 MiB, 125 with 2 MiB, 140 with 0.5 MiB; the multiply-add peak is 192.
inline constexpr std::int64_t task_x_bytes = 1 << 20;

/// Of many rows' product, so much of the weights is worked with at a time: it stays in the first cache.
inline constexpr int block_bytes = 32 << 10;
/// From so many rows on, weights that are not stored as the multiply-add wants them are converted once a task.
inline constexpr int rows_worth_widening = 3 * tile_rows;

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
void widen_panels(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t depth,
                  float* to) {
  using Stored = std::conditional_t<format == Format::bf16, bf16, half>;
  for (std::int64_t p = 0; p < number; ++p, to += depth * panel_columns) {
    const auto* from = reinterpret_cast<const Stored*>(panels + p * panel_stride);
    for (std::int64_t k = 0; k + 2 <= depth; k += 2, from += 2 * panel_columns) {
      if constexpr (format == Format::bf16) {
        Lanes::load_even(from).store(to + k * panel_columns);
        Lanes::load_odd(from).store(to + (k + 1) * panel_columns);
      } else {
        Lanes::load(from).store(to + k * panel_columns);
        Lanes::load(from + panel_columns).store(to + (k + 1) * panel_columns);
      }
    }
    if (depth % 2 != 0) Lanes::load(from).store(to + (depth - 1) * panel_columns);
  }
}

/// Asks for a share of a block of panels, `bytes` of each, that will be read soon.
inline void prefetch_share(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t bytes,
                           std::int64_t share, std::int64_t shares) {
  constexpr std::int64_t line = line_bytes;
  const std::int64_t lines = bytes / line, first = lines * share / shares, last = lines * (share + 1) / shares;
  for (std::int64_t p = 0; p < number; ++p, panels += panel_stride) {
    for (std::int64_t i = first; i < last; ++i) __builtin_prefetch(panels + i * line, 0, 2);
  }
}

/// Many rows against the panels of a group: sums [x.count, group_columns]. Blocks of k are the outer loop, so that a
/// block of the weights meets all rows out of the first cache, while the next block comes from memory; the sums wait
/// meanwhile, which changes no bit. `ahead`: the panels that are likely next after these, or null.
template <Format format, class Factor>
void multiply_many(Rows<const Factor> x, const std::byte* panels, std::int64_t panel_stride, std::int64_t number,
                   const std::byte* ahead, float* sums) {
  constexpr bool widen = format != Format::f32 && std::is_same_v<Factor, float>;
  constexpr Format used = widen ? Format::f32 : format;
  constexpr int block = block_bytes / int(panel_bytes(used, 1) / depth_unit(used) * group_panels);
  alignas(64) float wide[widen ? block_bytes / 4 : 1];
  for (std::int64_t k = 0; k < x.width(); k += block) {
    const std::int64_t depth = std::min<std::int64_t>(block, x.width() - k), left = x.width() - k - depth;
    const std::byte* from = panels + panel_bytes(format, k);
    const std::byte* next = left > 0 ? from + panel_bytes(format, depth) : ahead;
    const std::int64_t next_bytes =
        next ? panel_bytes(format, left > 0 ? std::min<std::int64_t>(block, left) : depth) : 0;
    std::int64_t stride = panel_stride;
    if constexpr (widen) {
      widen_panels<format>(from, stride, number, depth, wide);
      from = reinterpret_cast<const std::byte*>(wide);
      stride = panel_bytes(used, depth);
    }
    for (std::int64_t row = 0; row < x.count; row += tile_rows) {
      const int rows = int(std::min<std::int64_t>(tile_rows, x.count - row));
      prefetch_share(next, panel_stride, number, next_bytes, row / tile_rows, ceil_div(x.count, tile_rows));
      multiply_rows<used>(rows, x[row] + k, x.stride, from, stride, number, depth, sums + row * group_columns,
                          group_columns, k == 0 ? Start::zero : Start::tile);
    }
  }
}

/// Few rows: the weights stream past them as they are stored. Tiles of one height, so that none does little with them.
template <Format format, class Factor>
void multiply_few(Rows<const Factor> x, const std::byte* panels, std::int64_t panel_stride, std::int64_t number,
                  const std::byte* ahead, float* sums) {
  if (ahead) prefetch_share(ahead, panel_stride, number, std::min(panel_stride, prefetch_bytes), 0, 1);
  const std::int64_t height = ceil_div(x.count, ceil_div(x.count, tile_rows));
  for (std::int64_t row = 0; row < x.count; row += height) {
    const int rows = int(std::min(height, x.count - row));
    multiply_rows<format>(rows, x[row], x.stride, panels, panel_stride, number, x.width(), sums + row * group_columns,
                          group_columns);
  }
}

template <Format format, class Scalar, class Result>
void multiply_finish(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue,
                     Rows<Result> y) {
  if (x.count == 0 || w.out == 0) return;
  using Factor = cpu::Factor<format, Scalar>;
  const Rows<const Factor> all = readable<Factor>(ctx, x, round_up(w.in, depth_unit(format)));
  const bool gated = epilogue.kind == EpilogueKind::swi_glu;
  const std::int64_t panels = gated ? 2 * ceil_div(w.out / 2, panel_columns) : ceil_div(w.out, panel_columns);
  const std::int64_t stride = panel_bytes(format, w.in);
  const std::int64_t groups = ceil_div(panels, group_panels);
  const std::int64_t fitting = task_x_bytes / (w.in * std::int64_t(sizeof(Factor)));
  const std::int64_t chunks = ceil_div(x.count, std::clamp<std::int64_t>(fitting, task_rows / 4, task_rows));
  const std::int64_t chunk_rows = round_up(ceil_div(x.count, chunks), tile_rows);
  ctx.pool.run(chunks * groups, [&](std::int64_t task) {
    alignas(64) float sums[task_rows * group_columns];
    const std::int64_t panel = task % groups * group_panels;
    const std::int64_t number = std::min<std::int64_t>(group_panels, panels - panel);
    const std::int64_t row = task / groups * chunk_rows, rows = std::min(chunk_rows, x.count - row);
    if (rows <= 0) return;  // whole tiles in the chunks before took them
    const std::byte* from = w.memory.data + panel * stride;
    const std::byte* ahead = panel + 2 * group_panels <= panels ? from + group_panels * stride : nullptr;
    if (rows < rows_worth_widening) {
      multiply_few<format>(all.slice(row, rows), from, stride, number, ahead, sums);
    } else {
      multiply_many<format>(all.slice(row, rows), from, stride, number, ahead, sums);
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
  assert(w.in > 0 && x.width() == w.in && y.count == x.count && y.width() == (gated ? w.out / 2 : w.out));
  assert(gated == (w.fusion == Fusion::interleaved));  // the columns lie otherwise
  assert(!gated || (!epilogue.bias && !epilogue.scale));
  (void)gated;
  switch (w.format) {
    case Format::bf16:
      return detail::multiply_finish<Format::bf16>(ctx, x, w, epilogue, y);
    case Format::f16:
      return detail::multiply_finish<Format::f16>(ctx, x, w, epilogue, y);
    case Format::f32:
      return detail::multiply_finish<Format::f32>(ctx, x, w, epilogue, y);
  }
}

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
