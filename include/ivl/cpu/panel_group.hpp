// Rows against a group of four panels: what every matrix product on the CPU is cut into (see panels.hpp), whatever the
// format.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/int8_product.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_choice.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/cpu/readable_rows.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/ops/place.hpp"

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
/// Where blocks share scales, a weight costs so much that two rows are worth it, and no kernel need be compiled for
/// more (1.3 s a format). Sapphire Rapids, 1024 x 1024 in Q8_0, in cache: 4 rows 92 us as stored, 110 widened; 17 rows
/// 332 and 279.
template <class F>
inline constexpr int rows_worth_blocks = PanelFormat<F>::block != 0 && !PanelFormat<F>::scaled_sums ? 2
                                         : std::is_same_v<F, Bf16> && (tall_tile_rows > tile_rows)  ? 64
                                                                                                    : 3 * tile_rows;

/// What panels of F are widened to before many rows meet them: panels of the factors' own scalar.
template <class Factor>
using WideFormat = std::conditional_t<std::is_same_v<Factor, bf16>, Bf16, F32>;

// ---- products --------------------------------------------------------------------------
/// Asks for a share of a block of panels, `bytes` of each, that will be read soon.
inline void prefetch_share(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t bytes,
                           std::int64_t share, std::int64_t shares) {
  constexpr std::int64_t line = line_bytes;
  const std::int64_t lines = bytes / line, first = lines * share / shares, last = lines * (share + 1) / shares;
  for (std::int64_t p = 0; p < number; ++p, panels += panel_stride) {
    for (std::int64_t i = first; i < last; ++i) __builtin_prefetch(panels + i * line, 0, 2);
  }
}

/// `depth` k (whole units) of panels, from their k = `first` on, become panels of WideFormat<Factor>. Scales of sums
/// stay what they are: `scales` gets a row of group_columns for each block.
template <class F, class Factor>
void widen_panels(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t first,
                  std::int64_t depth, Factor* to, float (*scales)[group_columns]) {
  using Panel = PanelFormat<F>;
  constexpr std::int64_t block_depth = Panel::block == 0 ? Panel::step : Panel::block;
  for (std::int64_t p = 0; p < number; ++p, panels += panel_stride) {
    for (std::int64_t k = first; k < first + depth; k += block_depth) {
      [[maybe_unused]] const auto block = Panel::Block::load(Panel::Group::load(panels, k), panels, k);
      if constexpr (Panel::scaled_sums) block.scale.store(scales[(k - first) / Panel::block] + p * panel_columns);
      for (std::int64_t step = k; step < k + block_depth; step += Panel::step) {
        const auto chunk = Panel::Chunk::load(panels + Panel::chunk_at(step));
#pragma GCC unroll 8
        for (int i = 0; i < Panel::step / Panel::words; ++i, to += Panel::words * panel_columns) {
          if constexpr (std::is_same_v<Factor, bf16>) {
#if defined(IVL_AVX512_BF16)
            const __m512bh pairs = chunk.pairs(i);
            std::memcpy(to, &pairs, sizeof pairs);
#endif
          } else {
            Lanes w[Panel::words];
            if constexpr (Panel::scaled_sums) {
              chunk.weights(i, NoBlock{}, w);
            } else {
              chunk.weights(i, block, w);
            }
#pragma GCC unroll 4
            for (int j = 0; j < Panel::words; ++j) w[j].store(to + j * panel_columns);
          }
        }
      }
    }
  }
}

/// Many rows against the panels of a group: sums [rows], group_columns apart. Blocks of k are the outer loop, so that a
/// block of the weights meets all rows out of the first cache, while the next block comes from memory; the sums wait
/// meanwhile, which changes no bit. `ahead`: the panels that are likely next after these, or null.
template <class F, class Factor>
void multiply_many(const Factor* const* x, std::int64_t rows, std::int64_t all_depth, const std::byte* panels,
                   std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  using Panel = PanelFormat<F>;
  using Wide = WideFormat<Factor>;
  constexpr bool widen = !std::is_same_v<F, Wide>, scaled = Panel::scaled_sums;
  constexpr std::int64_t block = block_bytes / (group_columns * std::int64_t(sizeof(Factor)));
  static_assert(block % Panel::group == 0 || Panel::group % block == 0);
  alignas(line_bytes) Factor wide[widen ? std::size_t(block * group_columns) : 1];
  alignas(line_bytes) float scales[scaled ? block / std::max(1, Panel::block) : 1][group_columns];
  if constexpr (scaled) {
    for (std::int64_t row = 0; row < rows; ++row) std::fill_n(sums + row * group_columns, number * panel_columns, 0.0f);
  }
  for (std::int64_t k = 0; k < all_depth; k += block) {
    const std::int64_t depth = std::min(block, all_depth - k), left = all_depth - k - depth;
    const std::byte* from = panels + Panel::bytes(k);
    const std::byte* next = left > 0 ? from + Panel::bytes(depth) : ahead;
    const std::int64_t next_bytes = next ? Panel::bytes(left > 0 ? std::min(block, left) : depth) : 0;
    std::int64_t stride = panel_stride;
    if constexpr (widen) {
      widen_panels<F>(panels, stride, number, k, depth, wide, scales);
      from = reinterpret_cast<const std::byte*>(wide);
      stride = PanelFormat<Wide>::bytes(depth);
    }
    for (std::int64_t row = 0; row < rows; row += tile_rows) {
      prefetch_share(next, panel_stride, number, next_bytes, row / tile_rows, ceil_div(rows, tile_rows));
      const auto meet = [&](std::int64_t first, std::int64_t so_many, Start start, const float* scales_of_sums) {
        multiply_rows<Wide>(int(std::min<std::int64_t>(tile_rows, rows - row)), x + row, k + first,
                            from + PanelFormat<Wide>::bytes(first), stride, number, so_many, sums + row * group_columns,
                            group_columns, start, scales_of_sums);
      };
      if constexpr (scaled) {
        for (std::int64_t b = 0; b < depth / Panel::block; ++b)
          meet(b * Panel::block, Panel::block, Start::zero, scales[b]);
      } else {
        meet(0, depth, k == 0 ? Start::zero : Start::tile, nullptr);
      }
    }
  }
}

/// Few rows: the weights stream past them as they are stored. Tiles of one height, so that none does little with them.
template <class F, class Factor>
void multiply_few(const Factor* const* x, std::int64_t rows, std::int64_t depth, const std::byte* panels,
                  std::int64_t panel_stride, std::int64_t number, const std::byte* ahead, float* sums) {
  if (ahead) prefetch_share(ahead, panel_stride, number, std::min(panel_stride, prefetch_bytes), 0, 1);
  constexpr int tallest = std::min(tall_tile_rows, rows_worth_blocks<F> - 1);
  const std::int64_t height = ceil_div(rows, ceil_div(rows, tallest));
  for (std::int64_t row = 0; row < rows; row += height) {
    multiply_rows<F, tallest>(int(std::min(height, rows - row)), x + row, 0, panels, panel_stride, number, depth,
                              sums + row * group_columns, group_columns);
  }
}

/// Up to task_rows rows against at most group_panels panels: sums [rows], group_columns apart. The rows are factors
/// made of `Scalar` activations.
template <class Scalar, class Factor>
void multiply_group(Format format, const Factor* const* x, std::int64_t rows, std::int64_t depth,
                    const std::byte* panels, std::int64_t panel_stride, std::int64_t number, const std::byte* ahead,
                    float* sums) {
  with_panels(format, [&](auto tag) {
    using F = typename Products<decltype(tag)>::Format;
    using Panel = PanelFormat<F>;
    if constexpr (std::is_same_v<cpu::Factor<F, Scalar>, Factor>) {
      const std::int64_t whole = round_up(depth, Panel::unit);
      rows < rows_worth_blocks<F> ? multiply_few<F>(x, rows, whole, panels, panel_stride, number, ahead, sums)
                                  : multiply_many<F>(x, rows, whole, panels, panel_stride, number, ahead, sums);
    } else {
      assert(!"rows that panels of this format do not take");
    }
  });
}

/// The same of rows that are codes of 8 bits.
inline void multiply_int8(Format format, const Int8Row* x, std::int64_t rows, std::int64_t depth,
                          const std::byte* panels, std::int64_t panel_stride, std::int64_t number,
                          const std::byte* ahead, float* sums) {
  for (std::int64_t row = 0; row < rows; ++row) std::fill_n(sums + row * group_columns, number * panel_columns, 0.0f);
  with_panels(format, [&](auto tag) {
    using F = typename Products<decltype(tag)>::Format;
    using Panel = PanelFormat<F>;
    if constexpr (HasInt8Products<F>) {
      const std::int64_t all_depth = round_up(depth, Panel::unit);
      CodeBlock block;
      // Of few rows the products are short: smaller blocks let them overlap with unpacking. Sapphire Rapids, a row of
      // 1024 x 6144 in Q8_0 out of memory: 0.46 ms with blocks of 128, 0.54 with 256 (0.47 in exact numbers).
      const std::int64_t most = rows <= int8_tile_rows ? std::max(int8_block, Panel::group) : int8_depth;
      for (std::int64_t k = 0; k < all_depth; k += most) {
        const std::int64_t some = std::min(most, all_depth - k), left = all_depth - k - some;
        unpack<F>(panels, panel_stride, number, k, some, block);
        const std::byte* next = left > 0 ? panels + Panel::bytes(k + some) : ahead;
        const std::int64_t next_bytes = next ? Panel::bytes(left > 0 ? std::min(most, left) : some) : 0;
        for (std::int64_t row = 0; row < rows; row += int8_tile_rows) {
          prefetch_share(next, panel_stride, number, next_bytes, row / int8_tile_rows, ceil_div(rows, int8_tile_rows));
          multiply_code_rows(int(std::min<std::int64_t>(int8_tile_rows, rows - row)), x + row, k, some, block, number,
                             Panel::block, zero_code<F>(), has_offsets<F>, sums + row * group_columns);
        }
      }
    } else {
      assert(!"panels of codes that are no whole numbers");
    }
  });
}

// ---- columns of a placed matrix --------------------------------------------------------
/// What a tile of sums [rows, group_columns] becomes: columns [column, end) of the result, sixteen after sixteen.
struct ColumnTile {
  std::int64_t column = 0, end = 0;
  int step = 0;  ///< floats of the tile from one sixteen to the next
  int up = 0;    ///< of gate and up: floats from sixteen gates to their ups
};

/// Panels of the columns that a strip holds: gate and up begin a panel of their own each.
constexpr std::int64_t panels_of(const PlacedMatrix& w, const Strip& strip) {
  const bool interleaved = w.fusion == Fusion::interleaved && !w.split();
  return interleaved ? 2 * ceil_div(strip.out / 2, panel_columns) : ceil_div(strip.out, panel_columns);
}

/// Groups of columns that one task each makes.
inline std::int64_t groups_of(const PlacedMatrix& w) {
  if (w.split()) return ceil_div(panels_of(w, w.strips[0]), group_panels / 2);
  std::int64_t groups = 0;
  for (int i = 0; i < w.strip_count; ++i) groups += ceil_div(panels_of(w, w.strips[std::size_t(i)]), group_panels);
  return groups;
}

/// Panels [panel, panel + most) of a strip, or as many as there are, against rows row_of(0 ... rows - 1) of x.
template <class Scalar, class RowOf>
void multiply_strip(const Readable<Scalar>& x, const PlacedMatrix& w, const Strip& strip, std::int64_t expert,
                    std::int64_t panel, std::int64_t most, std::int64_t rows, const RowOf& row_of, float* sums) {
  const std::int64_t panels = panels_of(w, strip), stride = panel_bytes(strip.format, w.in);
  const std::int64_t number = std::min(most, panels - panel);
  const std::byte* from = strip.memory.data + expert * strip.bytes + panel * stride;
  const std::byte* ahead = panel + 2 * most <= panels ? from + most * stride : nullptr;
  const auto run = [&]<class Factor>(Factor) {
    const Factor* row[task_rows];
    for (std::int64_t r = 0; r < rows; ++r) row[r] = x.template row<Factor>(row_of(r));
    multiply_group<Scalar>(strip.format, row, rows, w.in, from, stride, number, ahead, sums);
  };
  if (x.as_int8(strip.format)) {
    Int8Row row[task_rows];
    for (std::int64_t r = 0; r < rows; ++r) row[r] = x.int8_row(row_of(r));
    return multiply_int8(strip.format, row, rows, w.in, from, stride, number, ahead, sums);
  }
  if constexpr (std::is_same_v<PairFactor<Scalar>, bf16>) {
    if (takes_pairs<Scalar>(strip.format)) return run(bf16{});
  }
  run(float{});
}

/// The sums of group `group` of w (of one expert): [rows, group_columns].
template <class Scalar, class RowOf>
ColumnTile multiply_columns(const Readable<Scalar>& x, const PlacedMatrix& w, std::int64_t expert, std::int64_t group,
                            std::int64_t rows, const RowOf& row_of, float* sums) {
  if (w.split()) {
    constexpr int half = group_panels / 2;
    for (int i = 0; i < 2; ++i) {
      multiply_strip(x, w, w.strips[std::size_t(i)], expert, group * half, half, rows, row_of,
                     sums + i * half * panel_columns);
    }
    const std::int64_t column = group * half * panel_columns;
    return {column, std::min(w.out / 2, column + half * panel_columns), panel_columns, half * panel_columns};
  }
  int i = 0;
  for (; group >= ceil_div(panels_of(w, w.strips[std::size_t(i)]), group_panels); ++i)
    group -= ceil_div(panels_of(w, w.strips[std::size_t(i)]), group_panels);
  const Strip& strip = w.strips[std::size_t(i)];
  multiply_strip(x, w, strip, expert, group * group_panels, group_panels, rows, row_of, sums);
  if (w.fusion == Fusion::interleaved) {
    const std::int64_t column = group * group_columns / 2;
    return {column, std::min(w.out / 2, column + group_columns / 2), 2 * panel_columns, panel_columns};
  }
  const std::int64_t column = strip.first + group * group_columns;
  return {column, std::min(strip.first + strip.out, column + group_columns), panel_columns, 0};
}

/// Most rows of a task with columns of w: whole tiles.
template <class Scalar>
std::int64_t most_task_rows(const PlacedMatrix& w) {
  std::int64_t row_bytes = 0;
  for (int i = 0; i < w.strip_count; ++i) {
    const bool pairs = takes_pairs<Scalar>(w.strips[std::size_t(i)].format);
    row_bytes = std::max(row_bytes, w.in * std::int64_t(pairs ? sizeof(bf16) : sizeof(float)));
  }
  const std::int64_t fitting = task_x_bytes / row_bytes;
  return std::clamp<std::int64_t>(fitting, task_rows / 4, task_rows) / tile_rows * tile_rows;
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
