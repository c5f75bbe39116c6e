// AWQ panels (see panel_format.hpp). A panel is a row of groups, each of 128 k:
//
//   scales   [16] f16      zeros   [16] bytes      together one line
//   codes    [128 / 8] lines, as nibbles.hpp has them
//
// A weight becomes a float in registers, exactly: q s and z s are, and so is their difference. Sums are those of a
// matrix of such floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/formats/awq.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <>
struct PanelFormat<Awq> {
  static constexpr int unit = Awq::block, group = Awq::block, step = detail::codes_depth, words = 2, block = Awq::block;
  static constexpr std::size_t read_behind = detail::codes_read_behind;
  static constexpr bool scaled_sums = false;
  template <class>
  using Factor = float;

  static constexpr std::int64_t zeros_at = panel_columns * sizeof(half);
  static constexpr std::int64_t group_bytes = group / step * detail::codes_bytes + line_bytes;

  static constexpr std::int64_t bytes(std::int64_t depth) { return depth / group * group_bytes; }
  static constexpr std::int64_t chunk_at(std::int64_t k) {
    return k / group * group_bytes + std::int64_t(line_bytes) + k % group / step * detail::codes_bytes;
  }
  static constexpr std::int64_t ahead(int) { return group_bytes; }
  static_assert(group_bytes >= prefetch_bytes);

  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    std::memset(panel + bytes(first), 0, std::size_t(bytes(first + number) - bytes(first)));
    for (std::int64_t k = first; k < first + number; k += group) {
      for (std::size_t c = 0; c < panel_columns; ++c) {
        if (!columns.sources[c]) continue;
        const BlockCells cells = columns.sources[c]->cells<Awq>(columns.rows[c], k);
        std::memcpy(panel + bytes(k) + c * sizeof(half), cells.at[1], sizeof(half));
        panel[bytes(k) + zeros_at + std::int64_t(c)] = std::byte(Awq::code(cells.at[2], cells.output));
        const std::byte* from = cells.at[0];
        for (std::int64_t line = k; line < k + group; line += step) {
          std::uint32_t word = 0;
          for (int i = 0; i < step; ++i, from += cells.to_next_input[0])
            word |= std::uint32_t(Awq::code(from, cells.output)) << (i % 2 * 16 + i / 2 * 4);
          std::memcpy(panel + chunk_at(line) + c * sizeof word, &word, sizeof word);
        }
      }
    }
  }

  struct Block {
    Lanes scale, minus_zero;
    static Block load(const std::byte* panel, std::int64_t k) {
      const std::byte* from = panel + bytes(k);
      const Lanes scale = Lanes::load(reinterpret_cast<const half*>(from));
      return {scale, (Lanes::zero() - Lanes::load(reinterpret_cast<const std::uint8_t*>(from + zeros_at))) * scale};
    }
  };
  struct Chunk {
    detail::Codes<unsigned_values> codes;
    static Chunk load(const std::byte* from) { return {detail::Codes<unsigned_values>::load(from)}; }
    void weights(int i, const Block& block, Lanes (&w)[2]) const {
      codes.look_up(i, w[0], w[1]);
      for (Lanes& weight : w) weight = fma(weight, block.scale, block.minus_zero);
    }
  };
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
