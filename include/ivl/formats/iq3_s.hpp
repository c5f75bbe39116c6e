// IQ3_S of ggml: 64 rows, four elements each, of a grid of 512, with all their signs; a scale of four bits for eight
// rows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

namespace ivl {

struct Iq3S : detail::BlockFormat<256, 110> {
  static constexpr std::string_view name = "iq3_s";
  struct Block {
    half d;
    std::uint8_t rows[64];  // the low eight bits of their numbers
    std::uint8_t high[8];   // the ninth
    std::uint8_t signs[32];
    std::uint8_t scales[4];
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq3S>(cells);
    for (int i = 0; i < 64; ++i) {
      const float d = to_float(b.d) * float(1 + 2 * detail::nibble(b.scales, i / 8));
      const int row = b.rows[i] | (b.high[i / 8] >> i % 8 & 1) << 8;
      detail::signed_values<4>(d, iq3_s_grid[std::size_t(row)].data(), unsigned(detail::nibble(b.signs, i)),
                               to + 4 * i);
    }
  }
};

}  // namespace ivl
