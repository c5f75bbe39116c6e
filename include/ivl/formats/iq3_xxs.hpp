// IQ3_XXS of ggml: 64 rows, four elements each, of a grid of 256; for eight of them signs and a scale of four bits.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

namespace ivl {

struct Iq3Xxs : detail::BlockFormat<256, 98> {
  static constexpr std::string_view name = "iq3_xxs";
  struct Block {
    half d;
    std::uint8_t rows[64];
    std::uint8_t signs_and_scales[8][4];  // of eight rows: seven bits for two rows, then the scale
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq3Xxs>(cells);
    for (int run = 0; run < 8; ++run) {
      std::uint32_t bits;
      std::memcpy(&bits, b.signs_and_scales[run], sizeof bits);
      const float d = to_float(b.d) * (0.5f + float(bits >> 28)) * 0.5f;
      for (int l = 0; l < 8; ++l, to += 4) {
        const unsigned signs = detail::with_even_sign(bits >> l / 2 * 7 & 127) >> l % 2 * 4;
        detail::signed_values<4>(d, iq3_xxs_grid[b.rows[8 * run + l]].data(), signs, to);
      }
    }
  }
};

}  // namespace ivl
