// What panels of ggml's formats share (see panel_format.hpp). A panel is a row of groups: scales, in whole lines, and
// then the chunks of the codes (code_chunks.hpp). Where a row ends in half a group, its scales have their lines
// nevertheless.
//
//   weight[k] = value(code[k]) scale[run] + offset[run]
//
// A weight becomes a float in registers. Products have at most 24 bits, so it rounds once, where dequantise does: it is
// the same float. Sums are those of a matrix of such floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/code_chunks.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/words.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// What the weights of a run share.
struct ScaleAndOffset {
  Lanes scale, offset;
};

// The scales of a group of F. They offer:
//   group, run              k of a group, and of one scale
//   bytes                   whole lines
//   put(block, run, column, to)   those of a block of the file, whose first run is `run` of its group
//   load(from, run)

/// [2][16] f16; what the codes stand for counts from `zero`.
template <class F, int zero>
struct HalfScales {
  static constexpr int group = 64, run = F::block, bytes = line_bytes;
  static_assert(run == 32);

  static void put(const typename F::Block& block, std::int64_t run, std::size_t column, std::byte* to) {
    std::memcpy(to + (std::size_t(run) * panel_columns + column) * sizeof(half), &block.d, sizeof(half));
  }
  static ScaleAndOffset load(const std::byte* from, std::int64_t run) {
    const Lanes scale = Lanes::load(reinterpret_cast<const half*>(from) + run * panel_columns);
    return {scale, scale * Lanes::of(-float(zero))};
  }
};

/// d [16] f16, m [16] f16.
template <class F>
struct HalfScalesAndMinimums {
  static constexpr int group = F::block, run = F::block, bytes = line_bytes;
  static_assert(run == 32);

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    std::memcpy(to + column * sizeof(half), &block.d, sizeof(half));
    std::memcpy(to + (panel_columns + column) * sizeof(half), &block.m, sizeof(half));
  }
  static ScaleAndOffset load(const std::byte* from, std::int64_t) {
    const auto* halves = reinterpret_cast<const half*>(from);
    return {Lanes::load(halves), Lanes::load(halves + panel_columns)};
  }
};

/// d [16] f16, then [256 / run][16] int8.
template <class F, int run_depth, int zero>
struct ByteScales {
  static constexpr int group = F::block, run = run_depth, bytes_at = panel_columns * sizeof(half);
  static constexpr int bytes = int(round_up(bytes_at + group / run * panel_columns, line_bytes));

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    std::memcpy(to + column * sizeof(half), &block.d, sizeof(half));
    for (int r = 0; r < group / run; ++r)
      to[bytes_at + r * panel_columns + int(column)] = std::byte(F::scale_of(block, r));
  }
  static ScaleAndOffset load(const std::byte* from, std::int64_t run) {
    const Lanes scale = Lanes::load(reinterpret_cast<const half*>(from)) *
                        Lanes::load(reinterpret_cast<const std::int8_t*>(from + bytes_at) + run * panel_columns);
    return {scale, scale * Lanes::of(-float(zero))};
  }
};

/// d [16] f16, dmin [16] f16.
template <class F>
void put_halves(const typename F::Block& block, std::size_t column, std::byte* to) {
  std::memcpy(to + column * sizeof(half), &block.d, sizeof(half));
  std::memcpy(to + (panel_columns + column) * sizeof(half), &block.dmin, sizeof(half));
}
inline ScaleAndOffset with_halves(const std::byte* from, Lanes scale, Lanes minimum) {
  const auto* halves = reinterpret_cast<const half*>(from);
  return {Lanes::load(halves) * scale, Lanes::zero() - Lanes::load(halves + panel_columns) * minimum};
}

/// The halves, then [8][2][16] bytes: a run's scales and its minimums.
template <class F>
struct ByteScalesAndMinimums {
  static constexpr int group = F::block, run = 32;
  static constexpr int bytes = line_bytes + group / run * 2 * panel_columns;

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    put_halves<F>(block, column, to);
    for (int r = 0; r < group / run; ++r) {
      const auto [scale, minimum] = F::scale_and_minimum(block, r);
      std::byte* const of_run = to + int(line_bytes) + r * 2 * panel_columns + int(column);
      of_run[0] = std::byte(scale);
      of_run[panel_columns] = std::byte(minimum);
    }
  }
  static ScaleAndOffset load(const std::byte* from, std::int64_t run) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(from) + line_bytes + run * 2 * panel_columns;
    return with_halves(from, Lanes::load(bytes), Lanes::load(bytes + panel_columns));
  }
};

/// The halves, then four lines [16] u32: byte b of line l is run 4l + b, its scale in the low four bits and its minimum
/// in the high ones.
template <class F>
struct NibbleScalesAndMinimums {
  static constexpr int group = F::block, run = 16;
  static constexpr int bytes = line_bytes + group / run * panel_columns;

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    put_halves<F>(block, column, to);
    for (int r = 0; r < group / run; ++r) {
      const auto [scale, minimum] = F::scale_and_minimum(block, r);
      to[(1 + r / 4) * int(line_bytes) + int(column) * 4 + r % 4] = std::byte(scale | minimum << 4);
    }
  }
  static ScaleAndOffset load(const std::byte* from, std::int64_t run) {
    const Words both = Words::load(from + (1 + run / 4) * std::int64_t(line_bytes)) >> int(run % 4 * 8);
    return with_halves(from, (both & Words::of(15)).floats(), ((both >> 4) & Words::of(15)).floats());
  }
};

template <class F, class Chunks, class Scales>
struct BlockPanels {
  static constexpr int unit = F::block, group = Scales::group, block = Scales::run;
  static constexpr int step = Chunks::depth, words = Chunks::words;
  static constexpr std::size_t read_behind = Chunks::read_behind;
  static constexpr bool scaled_sums = false;
  template <class>
  using Factor = float;

  static constexpr std::int64_t group_bytes = Scales::bytes + group / step * Chunks::bytes;

  static constexpr std::int64_t bytes(std::int64_t depth) {
    return depth / step * Chunks::bytes + ceil_div(depth, group) * Scales::bytes;
  }
  static constexpr std::int64_t scales_at(std::int64_t k) { return k / group * group_bytes; }
  static constexpr std::int64_t chunk_at(std::int64_t k) {
    return scales_at(k) + Scales::bytes + k % group / step * Chunks::bytes;
  }
  static constexpr std::int64_t ahead(int) { return prefetch_bytes; }

  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    std::memset(panel + bytes(first), 0, std::size_t(bytes(first + number) - bytes(first)));
    for (std::size_t c = 0; c < panel_columns; ++c) {
      if (!columns.sources[c]) continue;
      BlockCells cells = columns.sources[c]->template cells<F>(columns.rows[c], first);
      for (std::int64_t k = first; k < first + number; k += F::block, cells.at[0] += cells.to_next_input[0]) {
        const typename F::Block from = ivl::detail::block_at<F>(cells);
        Scales::put(from, k % group / block, c, panel + scales_at(k));
        std::uint8_t codes[F::block];
        F::codes(from, codes);
        for (int i = 0; i < F::block; i += step) Chunks::put(codes + i, c, panel + chunk_at(k + i));
      }
    }
  }

  struct Block : ScaleAndOffset {
    static Block load(const std::byte* panel, std::int64_t k) {
      return {Scales::load(panel + scales_at(k), k % group / block)};
    }
  };
  struct Chunk {
    Chunks chunk;
    static Chunk load(const std::byte* from) { return {Chunks::load(from)}; }
    void weights(int i, const Block& block, Lanes (&w)[words]) const {
      chunk.look_up(i, w);
      for (Lanes& weight : w) weight = fma(weight, block.scale, block.offset);
    }
  };
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
