// Rows of int8 codes (int8_codes.hpp) against panels whose codes are whole numbers.
//
//   y = sum over runs of  row scale * (scale * sum of (code - zero) q + offset * sum of q)
//
// q are the row's codes. A run is as many k as share a scale of the weights; none is longer than a block of the row.
// The inner sums are whole numbers. The outer one adds, in ascending order of k and whatever the tile, first (inner sum
// * row scale) * scale and then, in formats with minimums or zero points of their own, (row scale * sum of q) * offset;
// each of these is one rounding of the first factor, and one of the fused multiply-add. So a row has the same bits
// beside any others, on any number of threads, and at every level.
//
// A block of the panels is unpacked to bytes once and meets all rows out of the first cache, a single row too: beside
// reading the codes from memory that costs little.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/cpu/block_panels.hpp"
#include "ivl/cpu/int8_codes.hpp"
#include "ivl/cpu/int8_sums.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/scaled_panels.hpp"
#include "ivl/cpu/words.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// Formats whose codes are whole numbers: what a run's weights are is scale (code - zero), or scale code + offset.
template <class F>
concept HasInt8Products = HasPanels<F> && requires(const std::byte* from) {
  PanelFormat<F>::CodeChunks::fours(from, 0);
  requires requires { PanelFormat<F>::CodeScales::zero; } ||
               std::is_same_v<typename PanelFormat<F>::CodeScales::Run, ScaleAndOffset>;
};

template <class F>
inline constexpr bool has_offsets = !requires { PanelFormat<F>::CodeScales::zero; };

/// The code that stands for 0; none where runs have offsets.
template <class F>
constexpr int zero_code() {
  if constexpr (has_offsets<F>)
    return 0;
  else
    return PanelFormat<F>::CodeScales::zero - PanelFormat<F>::CodeChunks::base;
}

template <class Run>
Lanes scale_of(const Run& run) {
  return run.scale;
}
inline Lanes scale_of(const LlmInt8Scales::Run& run) { return run.scale * Lanes::of(LlmInt8::factor); }

/// Panels that are unpacked at once, and k of them.
inline constexpr int int8_panels = 4, int8_depth = 256;

/// A part of some panels as bytes.
struct CodeBlock {
  alignas(line_bytes) std::byte codes[int8_depth / 4][int8_panels][line_bytes];  ///< lines [16][4]
  alignas(line_bytes) float scales[int8_depth / int8_sum_step][int8_panels * panel_columns];
  alignas(line_bytes) float offsets[int8_depth / int8_sum_step][int8_panels * panel_columns];
};

/// k in [first, first + depth) of `number` panels.
template <class F>
void unpack(const std::byte* panels, std::int64_t panel_stride, std::int64_t number, std::int64_t first,
            std::int64_t depth, CodeBlock& to) {
  using Panel = PanelFormat<F>;
  using Chunks = typename Panel::CodeChunks;
  static_assert(int8_depth % Panel::group == 0 && Panel::block % int8_sum_step == 0 && Panel::block <= int8_block);
  for (std::int64_t p = 0; p < number; ++p, panels += panel_stride) {
    for (std::int64_t k = 0; k < depth; k += Panel::block) {
      const auto run = Panel::Block::load(Panel::Group::load(panels, first + k), panels, first + k);
      scale_of(static_cast<const typename Panel::CodeScales::Run&>(run))
          .store(to.scales[k / Panel::block] + p * panel_columns);
      if constexpr (has_offsets<F>) run.offset.store(to.offsets[k / Panel::block] + p * panel_columns);
      for (std::int64_t step = k; step < k + Panel::block; step += Panel::step) {
        const std::byte* const from = panels + Panel::chunk_at(first + step);
        for (std::int64_t line = 0; line < Chunks::bytes; line += std::int64_t(line_bytes))
          __builtin_prefetch(from + Panel::ahead(int8_panels) + line);
#pragma GCC unroll 8
        for (int i = 0; i < Panel::step / 4; ++i) Chunks::fours(from, i).store(to.codes[step / 4 + i][p]);
      }
    }
  }
}

/// The largest tile whose sums fit the registers.
inline constexpr int int8_tile_rows = compiled_level >= CpuLevel::avx512 ? 6 : compiled_level == CpuLevel::avx2 ? 4 : 2;
inline constexpr int int8_tile_panels = compiled_level >= CpuLevel::avx512 ? 4 : 1;

/// sums[r][c] += the products of `depth` k from `first` on, of Rows rows and of Panels panels of a block from `panel`
/// on; sums of rows are int8_panels * panel_columns apart.
template <int Rows, int Panels>
void multiply_codes(const Int8Row* rows, std::int64_t first, std::int64_t depth, const CodeBlock& block, int panel,
                    std::int64_t run, std::int32_t zero, bool offsets, float* sums) {
  const std::int64_t runs = depth / run;
  for (std::int64_t i = 0; i < runs; ++i) {
    const std::int64_t k = i * run;
    IntSums tile[Rows][Panels];
    std::int32_t row_sums[Rows];
    const std::int8_t* codes[Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      codes[r] = rows[r].codes + first;
      row_sums[r] = rows[r].sum(first + k, first + k + run);
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) tile[r][p] = IntSums::of(-zero * row_sums[r]);
    }
    const std::byte* lines = block.codes[k / 4][panel];
    for (std::int64_t step = k; step < k + run; step += 4, lines += sizeof block.codes[0]) {
      ByteFours w[Panels];
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) w[p] = ByteFours::load(lines + p * std::int64_t(line_bytes));
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const RowFour x = RowFour::load(codes[r] + step);
#pragma GCC unroll 4
        for (int p = 0; p < Panels; ++p) tile[r][p] = tile[r][p].plus(w[p], x);
      }
    }
    const float *const scales = block.scales[i], *const offset = block.offsets[i];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float row_scale = rows[r].scales[(first + k) / int8_block];
      const Lanes sum = Lanes::of(row_scale * float(row_sums[r]));
#pragma GCC unroll 4
      for (int p = 0; p < Panels; ++p) {
        const int column = (panel + p) * panel_columns;
        float* const to = sums + r * int8_panels * panel_columns + column;
        Lanes total =
            fma_once(tile[r][p].floats() * Lanes::of(row_scale), Lanes::load(scales + column), Lanes::load(to));
        if (offsets) total = fma_once(sum, Lanes::load(offset + column), total);
        total.store(to);
      }
    }
  }
}

/// `number` <= Rows rows against all panels of a block.
template <int Rows = int8_tile_rows>
void multiply_code_rows(int number, const Int8Row* rows, std::int64_t first, std::int64_t depth, const CodeBlock& block,
                        std::int64_t panels, std::int64_t run, std::int32_t zero, bool offsets, float* sums) {
  if constexpr (Rows > 1) {
    if (number < Rows)
      return multiply_code_rows<Rows - 1>(number, rows, first, depth, block, panels, run, zero, offsets, sums);
  }
  int p = 0;
  for (; p + int8_tile_panels <= panels; p += int8_tile_panels)
    multiply_codes<Rows, int8_tile_panels>(rows, first, depth, block, p, run, zero, offsets, sums);
  for (; p < panels; ++p) multiply_codes<Rows, 1>(rows, first, depth, block, p, run, zero, offsets, sums);
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
