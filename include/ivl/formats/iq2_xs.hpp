// IQ2_XS of ggml: 32 rows of a grid of 512, each with signs; a scale of four bits for two of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

namespace ivl {

struct Iq2Xs : detail::BlockFormat<256, 74> {
  static constexpr std::string_view name = "iq2_xs";
  struct Block {
    half d;
    std::uint16_t rows[32];  // nine bits of a row's number, seven of its signs
    std::uint8_t scales[8];
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq2Xs>(cells);
    for (int i = 0; i < 32; ++i) {
      const float d = to_float(b.d) * (0.5f + float(detail::nibble(b.scales, i / 2))) * 0.25f;
      detail::signed_values<8>(d, iq2_xs_grid[b.rows[i] & 511].data(), detail::with_even_sign(b.rows[i] >> 9),
                               to + 8 * i);
    }
  }
};

}  // namespace ivl
