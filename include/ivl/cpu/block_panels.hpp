// What panels of codes with scales share (see panel_format.hpp). A panel is a row of groups: scales, in whole lines,
// and then the chunks of the codes (code_chunks.hpp). Where a row ends in half a group, its scales have their lines
// nevertheless.
//
//   weight[k] = value(code[k]) scale[run] + offset[run]
//
// A weight becomes a float in registers. Products have at most 24 bits, so it rounds once, where dequantise does: it is
// the same float. Sums are those of a matrix of such floats. (Where a scale is any float, in scaled_panels.hpp, there
// is no offset, and the product rounds as in dequantise.)
#pragma once
#include <algorithm>
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

/// What the weights of a run share. apply(value, i) makes a weight of word i of a chunk.
struct ScaleAndOffset {
  Lanes scale, offset;
  Lanes apply(Lanes value, int) const { return fma(value, scale, offset); }
};

// The scales of a group of F. They offer:
//   group, run              k of a group, and of one scale
//   bytes                   whole lines
//   put(block, run, column, to)   those of a block of the file, whose first run is `run` of its group
//   Group::load(from)       what is made ready once for all runs of a group
//   Run                     such as ScaleAndOffset
//   load(group, from, run)
//   zero                    where runs have no offset of their own: the value that stands for 0

/// d [16] f16.
struct HalfScale {
  Lanes d;
  static HalfScale load(const std::byte* from) { return {Lanes::load(reinterpret_cast<const half*>(from))}; }
};

/// [2][16] f16; what the codes stand for counts from `zero`.
template <class F, int zero_value>
struct HalfScales {
  static constexpr int zero = zero_value, group = 64, run = F::block, bytes = line_bytes;
  static_assert(run == 32);

  static void put(const typename F::Block& block, std::int64_t run, std::size_t column, std::byte* to) {
    std::memcpy(to + (std::size_t(run) * panel_columns + column) * sizeof(half), &block.d, sizeof(half));
  }
  using Group = NoGroup;
  using Run = ScaleAndOffset;
  static Run load(Group, const std::byte* from, std::int64_t run) {
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
  using Group = NoGroup;
  using Run = ScaleAndOffset;
  static Run load(Group, const std::byte* from, std::int64_t) {
    const auto* halves = reinterpret_cast<const half*>(from);
    return {Lanes::load(halves), Lanes::load(halves + panel_columns)};
  }
};

/// d [16] f16, then [256 / run][16] int8.
template <class F, int run_depth, int zero_value>
struct ByteScales {
  static constexpr int zero = zero_value, group = F::block, run = run_depth, bytes_at = panel_columns * sizeof(half);
  static constexpr int bytes = int(round_up(bytes_at + group / run * panel_columns, line_bytes));

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    std::memcpy(to + column * sizeof(half), &block.d, sizeof(half));
    for (int r = 0; r < group / run; ++r)
      to[bytes_at + r * panel_columns + int(column)] = std::byte(F::scale_of(block, r));
  }
  using Group = HalfScale;
  using Run = ScaleAndOffset;
  static Run load(const Group& of_group, const std::byte* from, std::int64_t run) {
    const Lanes scale =
        of_group.d * Lanes::load(reinterpret_cast<const std::int8_t*>(from + bytes_at) + run * panel_columns);
    return {scale, scale * Lanes::of(-float(zero))};
  }
};

/// d [16] f16, dmin [16] f16.
struct HalfScaleAndMinimum {
  Lanes d, minus_dmin;

  template <class Block>
  static void put(const Block& block, std::size_t column, std::byte* to) {
    std::memcpy(to + column * sizeof(half), &block.d, sizeof(half));
    std::memcpy(to + (panel_columns + column) * sizeof(half), &block.dmin, sizeof(half));
  }
  static HalfScaleAndMinimum load(const std::byte* from) {
    const auto* halves = reinterpret_cast<const half*>(from);
    return {Lanes::load(halves), Lanes::zero() - Lanes::load(halves + panel_columns)};
  }
  ScaleAndOffset times(Lanes scale, Lanes minimum) const { return {d * scale, minus_dmin * minimum}; }
};

/// The halves, then [8][2][16] bytes: a run's scales and its minimums.
template <class F>
struct ByteScalesAndMinimums {
  static constexpr int group = F::block, run = 32;
  static constexpr int bytes = line_bytes + group / run * 2 * panel_columns;

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    HalfScaleAndMinimum::put(block, column, to);
    for (int r = 0; r < group / run; ++r) {
      const auto [scale, minimum] = F::scale_and_minimum(block, r);
      std::byte* const of_run = to + int(line_bytes) + r * 2 * panel_columns + int(column);
      of_run[0] = std::byte(scale);
      of_run[panel_columns] = std::byte(minimum);
    }
  }
  using Group = HalfScaleAndMinimum;
  using Run = ScaleAndOffset;
  static Run load(const Group& of_group, const std::byte* from, std::int64_t run) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(from) + line_bytes + run * 2 * panel_columns;
    return of_group.times(Lanes::load(bytes), Lanes::load(bytes + panel_columns));
  }
};

/// The halves, then four lines [16] u32: byte b of line l is run 4l + b, its scale in the low four bits and its minimum
/// in the high ones.
template <class F>
struct NibbleScalesAndMinimums {
  static constexpr int group = F::block, run = 16;
  static constexpr int bytes = line_bytes + group / run * panel_columns;

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    HalfScaleAndMinimum::put(block, column, to);
    for (int r = 0; r < group / run; ++r) {
      const auto [scale, minimum] = F::scale_and_minimum(block, r);
      to[(1 + r / 4) * int(line_bytes) + int(column) * 4 + r % 4] = std::byte(scale | minimum << 4);
    }
  }
  using Group = HalfScaleAndMinimum;
  using Run = ScaleAndOffset;
  static Run load(const Group& of_group, const std::byte* from, std::int64_t run) {
    const Words both = Words::load(from + (1 + run / 4) * std::int64_t(line_bytes)) >> int(run % 4 * 8);
    return of_group.times((both & Words::of(15)).floats(), ((both >> 4) & Words::of(15)).floats());
  }
};

/// d [16] f16, then [16][16] bytes: of a run the scale in the low four bits, and above them whether the first and the
/// second eight values are shifted down.
template <class F>
struct ShiftedScales {
  static constexpr int group = F::block, run = 16, bytes_at = panel_columns * sizeof(half);
  static constexpr int bytes = int(round_up(bytes_at + group / run * panel_columns, line_bytes));

  static void put(const typename F::Block& block, std::int64_t, std::size_t column, std::byte* to) {
    const half d = F::d_of(block);
    std::memcpy(to + column * sizeof d, &d, sizeof d);
    for (int r = 0; r < group / run; ++r) {
      const int shifts = int(F::shifted_down(block, 2 * r)) | int(F::shifted_down(block, 2 * r + 1)) << 1;
      to[bytes_at + r * panel_columns + int(column)] = std::byte(F::scale_of(block, r) | shifts << 4);
    }
  }
  using Group = HalfScale;
  struct Run {
    Lanes scale, offsets[2];
    Lanes apply(Lanes value, int i) const { return fma(value, scale, offsets[i / 2]); }
  };
  static Run load(const Group& of_group, const std::byte* from, std::int64_t run) {
    const Words bytes_of_run = Words::load_bytes(from + bytes_at + run * panel_columns);
    const Lanes scale = of_group.d * (bytes_of_run & Words::of(15)).floats();
    // Codes count from -1, and an eighth is added to them or taken off.
    const auto offset = [&](int i) {
      const Lanes down = ((bytes_of_run >> (4 + i)) & Words::of(1)).floats();
      return scale * fma(down, Lanes::of(-0.25f), Lanes::of(-0.875f));
    };
    return {scale, {offset(0), offset(1)}};
  }
};

/// What a block of a file is to the formats' functions: of ggml a copy of it, else where its planes are.
template <class F>
auto file_block(const BlockCells& cells) {
  if constexpr (requires { typename F::Block; }) {
    return ivl::detail::block_at<F>(cells);
  } else {
    return cells;
  }
}

template <class F, class Chunks, class Scales>
struct BlockPanels {
  using CodeChunks = Chunks;
  using CodeScales = Scales;
  static constexpr int unit = std::max(F::block, Scales::run), group = Scales::group, block = Scales::run;
  static constexpr int step = Chunks::depth, words = Chunks::words;
  static constexpr std::size_t read_behind = Chunks::read_behind;
  static constexpr bool scaled_sums = false;
  template <class>
  using Factor = float;

  static constexpr std::int64_t group_bytes = Scales::bytes + group / step * Chunks::bytes;

  static constexpr std::int64_t bytes(std::int64_t depth) {
    return round_up(depth, unit) / step * Chunks::bytes + ceil_div(depth, group) * Scales::bytes;
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
      for (std::int64_t k = first; k < first + number; k += F::block) {
        const auto from = file_block<F>(columns.sources[c]->template cells<F>(columns.rows[c], k));
        Scales::put(from, k % group / block, c, panel + scales_at(k));
        std::uint8_t codes[F::block];
        F::codes(from, codes);
        for (int i = 0; i < F::block; i += step) Chunks::put(codes + i, c, panel + chunk_at(k + i));
      }
    }
  }

  struct Group : Scales::Group {
    static Group load(const std::byte* panel, std::int64_t k) { return {Scales::Group::load(panel + scales_at(k))}; }
  };
  struct Block : Scales::Run {
    static Block load(const Group& of_group, const std::byte* panel, std::int64_t k) {
      return {Scales::load(of_group, panel + scales_at(k), k % group / block)};
    }
  };
  struct Chunk {
    Chunks chunk;
    static Chunk load(const std::byte* from) { return {Chunks::load(from)}; }
    void weights(int i, const Block& block, Lanes (&w)[words]) const {
      chunk.look_up(i, w);
      for (Lanes& weight : w) weight = block.apply(weight, i);
    }
  };
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
