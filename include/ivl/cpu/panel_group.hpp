// Rows against a group of four panels: what every matrix product on the CPU is cut into (see panels.hpp).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/mxfp4_panels.hpp"
#include "ivl/cpu/panels.hpp"

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
/// From so many rows on, a block of the weights meets all rows before the next one, and where weights are not stored as
/// the multiply-add wants them they are converted once a block. Below, tall tiles take bf16 as it is: Sapphire Rapids,
/// 32 rows of 2048 in float against bf16: 172 GFLOP/s, where converted blocks give 147.
template <Format format>
inline constexpr int rows_worth_blocks = format == Format::bf16 && (tall_tile_rows > tile_rows) ? 64 : 3 * tile_rows;

/// Rows that the micro-kernel can read: x itself, or a copy as `Factor` with zeros up to a whole depth_unit.
template <Format format, class Scalar>
class Readable {
 public:
  using Factor = cpu::Factor<format, Scalar>;

  Readable(Rows<const Scalar> x, std::int64_t depth) : x_(x), depth_(round_up(depth, depth_unit(format))) {
    if constexpr (std::is_same_v<Factor, Scalar>) {
      if (x.width() == depth_) rows_ = x;
    }
  }
  /// Scalars of working memory that `rows` needs: none where x can be read as it is.
  std::int64_t room() const { return rows_.data ? 0 : x_.count * stride(); }

  Rows<const Factor> rows(Context& ctx, Factor* memory) {
    if (rows_.data || x_.count == 0) return rows_;
    const auto copy_row = [&](std::int64_t row) {
      const Scalar* from = x_[row];
      Factor* to = memory + row * stride();
      if constexpr (std::is_same_v<Factor, Scalar>) {
        std::copy_n(from, x_.width(), to);
      } else {
        std::int64_t i = 0;
        for (; i + lanes <= x_.width(); i += lanes) Lanes::load(from + i).store(to + i);
        for (; i < x_.width(); ++i) to[i] = to_float(from[i]);
      }
      std::fill(to + x_.width(), to + depth_, Factor{});
    };
    if (x_.count <= tile_rows) {
      for (std::int64_t row = 0; row < x_.count; ++row) copy_row(row);
    } else {
      ctx.pool.run(x_.count, copy_row);
    }
    return rows_ = {memory, x_.count, depth_, stride()};
  }

 private:
  // One line more than the row, so that rows do not fall into the same cache sets.
  std::int64_t stride() const { return round_up(depth_, lanes) + lanes; }

  Rows<const Scalar> x_;
  std::int64_t depth_;
  Rows<const Factor> rows_;
};

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

/// Many rows against the panels of a group: sums [rows, group_columns]. Blocks of k are the outer loop, so that a
/// block of the weights meets all rows out of the first cache, while the next block comes from memory; the sums wait
/// meanwhile, which changes no bit. `ahead`: the panels that are likely next after these, or null.
template <Format format, class Factor>
void multiply_many(const Factor* const* x, std::int64_t rows, std::int64_t all_depth, const std::byte* panels,
                   std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  constexpr bool widen = format != Format::f32 && std::is_same_v<Factor, float>;
  constexpr Format used = widen ? Format::f32 : format;
  constexpr int block = block_bytes / int(panel_bytes(used, 1) / depth_unit(used) * group_panels);
  alignas(64) float wide[widen ? block_bytes / 4 : 1];
  for (std::int64_t k = 0; k < all_depth; k += block) {
    const std::int64_t depth = std::min<std::int64_t>(block, all_depth - k), left = all_depth - k - depth;
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
    for (std::int64_t row = 0; row < rows; row += tile_rows) {
      prefetch_share(next, panel_stride, number, next_bytes, row / tile_rows, ceil_div(rows, tile_rows));
      multiply_rows<used>(int(std::min<std::int64_t>(tile_rows, rows - row)), x + row, k, from, stride, number, depth,
                          sums + row * group_columns, group_columns, k == 0 ? Start::zero : Start::tile);
    }
  }
}

/// Few rows: the weights stream past them as they are stored. Tiles of one height, so that none does little with them.
template <Format format, class Factor>
void multiply_few(const Factor* const* x, std::int64_t rows, std::int64_t depth, const std::byte* panels,
                  std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  if (ahead) prefetch_share(ahead, panel_stride, number, std::min(panel_stride, prefetch_bytes), 0, 1);
  const std::int64_t height = ceil_div(rows, ceil_div(rows, tall_tile_rows));
  for (std::int64_t row = 0; row < rows; row += height) {
    multiply_rows<format, tall_tile_rows>(int(std::min(height, rows - row)), x + row, 0, panels, panel_stride, number,
                                          depth, sums + row * group_columns, group_columns);
  }
}

/// multiply_few on MXFP4.
template <class Factor>
void multiply_few_codes(const Factor* const* x, std::int64_t rows, std::int64_t depth, const std::byte* panels,
                        std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  if (ahead) prefetch_share(ahead, panel_stride, number, std::min(panel_stride, prefetch_bytes), 0, 1);
  const std::int64_t height = ceil_div(rows, ceil_div(rows, tall_tile_rows));
  for (std::int64_t row = 0; row < rows; row += height) {
    multiply_code_rows<tall_tile_rows>(int(std::min(height, rows - row)), x + row, panels, panel_stride, number, depth,
                                       sums + row * group_columns, group_columns);
  }
}

/// multiply_many on MXFP4: a block of codes is widened once, and meets the rows 32 k at a time, for the scales' sake.
template <class Factor>
void multiply_many_codes(const Factor* const* x, std::int64_t rows, std::int64_t all_depth, const std::byte* panels,
                         std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  constexpr Format used = std::is_same_v<Factor, bf16> ? Format::bf16 : Format::f32;
  constexpr std::int64_t block = block_bytes / (group_columns * std::int64_t(sizeof(Factor)));
  static_assert(block % (mxfp4_group_blocks * mxfp4_block) == 0);
  alignas(line_bytes) Factor wide[block_bytes / sizeof(Factor)];
  alignas(line_bytes) float scales[block / mxfp4_block][group_columns];
  std::fill_n(sums, rows * group_columns, 0.0f);
  for (std::int64_t k = 0; k < all_depth; k += block) {
    const std::int64_t depth = std::min(block, all_depth - k), left = all_depth - k - depth;
    const std::byte* from = panels + panel_bytes(Format::mxfp4, k);
    const std::byte* next = left > 0 ? from + panel_bytes(Format::mxfp4, depth) : ahead;
    const std::int64_t next_bytes = next ? panel_bytes(Format::mxfp4, left > 0 ? std::min(block, left) : depth) : 0;
    for (std::int64_t p = 0; p < number; ++p) {
      for (std::int64_t b = 0; b < depth / mxfp4_block; ++b) {
        widen_codes(from + p * panel_stride + codes_at(b), wide + (p * depth + b * mxfp4_block) * panel_columns);
        scale_lanes(from + p * panel_stride + scales_at(b)).store(scales[b] + p * panel_columns);
      }
    }
    for (std::int64_t row = 0; row < rows; row += tile_rows) {
      prefetch_share(next, panel_stride, number, next_bytes, row / tile_rows, ceil_div(rows, tile_rows));
      for (std::int64_t b = 0; b < depth / mxfp4_block; ++b) {
        multiply_rows<used>(int(std::min<std::int64_t>(tile_rows, rows - row)), x + row, k + b * mxfp4_block,
                            reinterpret_cast<const std::byte*>(wide + b * mxfp4_block * panel_columns),
                            panel_bytes(used, depth), number, mxfp4_block, sums + row * group_columns, group_columns,
                            Start::zero, scales[b]);
      }
    }
  }
}

/// Up to task_rows rows against the panels of a group.
template <Format format, class Factor>
void multiply_group(const Factor* const* x, std::int64_t rows, std::int64_t depth, const std::byte* panels,
                    std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  const bool few = rows < rows_worth_blocks<format>;
  if constexpr (format == Format::mxfp4) {
    few ? multiply_few_codes(x, rows, depth, panels, panel_stride, number, ahead, sums)
        : multiply_many_codes(x, rows, depth, panels, panel_stride, number, ahead, sums);
  } else {
    few ? multiply_few<format>(x, rows, depth, panels, panel_stride, number, ahead, sums)
        : multiply_many<format>(x, rows, depth, panels, panel_stride, number, ahead, sums);
  }
}

/// Most rows of a task whose rows are so deep: whole tiles.
template <class Factor>
std::int64_t most_task_rows(std::int64_t depth) {
  const std::int64_t fitting = task_x_bytes / (depth * std::int64_t(sizeof(Factor)));
  return std::clamp<std::int64_t>(fitting, task_rows / 4, task_rows) / tile_rows * tile_rows;
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
