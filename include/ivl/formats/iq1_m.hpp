// IQ1_M of ggml: IQ1_S with a scale of three bits for two rows and a shift for each. The scale of the block lies in
// pieces.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

struct Iq1M : detail::BlockFormat<256, 56> {
  static constexpr std::string_view name = "iq1_m";
  struct Block {
    std::uint8_t rows[32];    // the low eight bits of their numbers
    std::uint8_t high[16];    // for each of two rows three bits, and whether its shift is down
    std::uint16_t scales[4];  // of four pairs of rows; the top four bits are a quarter of the block's scale
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq1M>(cells);
    unsigned block_scale = 0;
    for (int word = 0; word < 4; ++word) block_scale |= unsigned(b.scales[word] >> 12) << 4 * word;
    const float scale = to_float(half{std::uint16_t(block_scale)});
    for (int i = 0; i < 32; ++i) {
      const int high = detail::nibble(b.high, i);
      const float d = scale * float(2 * (b.scales[i / 8] >> i % 8 / 2 * 3 & 7) + 1);
      const int row = b.rows[i] | (high & 7) << 8;
      detail::shifted_row(d, row, high & 8 ? -detail::iq1_shift : detail::iq1_shift, to + 8 * i);
    }
  }
};

}  // namespace ivl
