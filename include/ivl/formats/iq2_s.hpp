// IQ2_S of ggml: 32 rows of a grid of 1024, each with all its signs; a scale of four bits for two of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

namespace ivl {

struct Iq2S : detail::BlockFormat<256, 82> {
  static constexpr std::string_view name = "iq2_s";
  struct Block {
    half d;
    std::uint8_t rows[32];  // the low eight bits of their numbers
    std::uint8_t signs[32];
    std::uint8_t high[8];  // two bits a row
    std::uint8_t scales[8];
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq2S>(cells);
    for (int i = 0; i < 32; ++i) {
      const float d = to_float(b.d) * (0.5f + float(detail::nibble(b.scales, i / 2))) * 0.25f;
      const int row = b.rows[i] | (b.high[i / 4] >> i % 4 * 2 & 3) << 8;
      detail::signed_values<8>(d, iq2_s_grid[std::size_t(row)].data(), b.signs[i], to + 8 * i);
    }
  }
};

}  // namespace ivl
