// Q8_0 panels (see panel_format.hpp). A panel is a row of groups, each of 64 k or, at the end, of 32:
//
//   scales   [2][16] f16   for 32 k of one column each; the whole line in every group
//   codes    [k][16] int8
//
// A weight becomes a float in registers, exactly; sums are those of a matrix of such floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/formats/q8_0.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <>
struct PanelFormat<Q8_0> {
  static constexpr int unit = Q8_0::block, group = 64, step = 4, words = 1, block = Q8_0::block;
  static constexpr std::size_t read_behind = 0;
  static constexpr bool scaled_sums = false;
  template <class>
  using Factor = float;

  static constexpr std::int64_t group_bytes = group * panel_columns + line_bytes;

  static constexpr std::int64_t bytes(std::int64_t depth) {
    return depth * panel_columns + ceil_div(depth, group) * std::int64_t(line_bytes);
  }
  static constexpr std::int64_t scales_at(std::int64_t k) {
    return k / group * group_bytes + k % group / block * panel_columns * std::int64_t(sizeof(half));
  }
  static constexpr std::int64_t chunk_at(std::int64_t k) {
    return k / group * group_bytes + std::int64_t(line_bytes) + k % group * panel_columns;
  }
  static constexpr std::int64_t ahead(int) { return group_bytes; }
  static_assert(group_bytes >= prefetch_bytes);

  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    std::memset(panel + bytes(first), 0, std::size_t(bytes(first + number) - bytes(first)));
    for (std::size_t c = 0; c < panel_columns; ++c) {
      if (!columns.sources[c]) continue;
      const BlockCells cells = columns.sources[c]->cells<Q8_0>(columns.rows[c], first);
      const std::byte* from = cells.at[0];
      for (std::int64_t k = first; k < first + number; k += block, from += cells.to_next_input[0]) {
        std::memcpy(panel + scales_at(k) + c * sizeof(half), from, sizeof(half));
        for (int i = 0; i < block; ++i)
          panel[chunk_at(k) + i * panel_columns + std::int64_t(c)] = from[sizeof(half) + std::size_t(i)];
      }
    }
  }

  struct Block {
    Lanes scale;
    static Block load(const std::byte* panel, std::int64_t k) {
      return {Lanes::load(reinterpret_cast<const half*>(panel + scales_at(k)))};
    }
  };
  struct Chunk {
    const std::int8_t* codes;
    static Chunk load(const std::byte* from) { return {reinterpret_cast<const std::int8_t*>(from)}; }
    void weights(int i, const Block& block, Lanes (&w)[1]) const {
      w[0] = Lanes::load(codes + i * panel_columns) * block.scale;
    }
  };
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
