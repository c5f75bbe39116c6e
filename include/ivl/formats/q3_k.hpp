// Q3_K of ggml: 16 runs of 16 codes of three bits, from -4 to 3; a run has a scale of six bits.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q3K : detail::BlockFormat<256, 110> {
  static constexpr std::string_view name = "q3_k";
  struct Block {
    std::uint8_t high[32];      // bit g of byte l is the third bit of element 32 g + l
    std::uint8_t codes[2][32];  // as in Q2_K
    std::uint8_t scales[12];    // of 16 runs the low four bits in eight bytes, then the high two
    half d;
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q3K>(cells);
    for (int run = 0; run < 16; ++run) {
      const int low = run < 8 ? b.scales[run] & 15 : b.scales[run - 8] >> 4;
      const int scale = low | (b.scales[8 + run % 4] >> run / 4 * 2 & 3) << 4;
      const float d = to_float(b.d) * float(scale - 32);
      const std::uint8_t *codes = b.codes[run / 8] + 16 * (run % 2), *high = b.high + 16 * (run % 2);
      const int shift = run % 8 / 2 * 2;
      for (int l = 0; l < 16; ++l) {
        const int q = (codes[l] >> shift & 3) | (high[l] >> run / 2 & 1) << 2;
        to[16 * run + l] = d * float(q - 4);
      }
    }
  }
};

}  // namespace ivl
