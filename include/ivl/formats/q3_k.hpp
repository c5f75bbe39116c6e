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

  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) {
      const int low = b.codes[k / 128][k % 32] >> k % 128 / 32 * 2 & 3;
      to[k] = std::uint8_t(low | (b.high[k % 32] >> k / 32 & 1) << 2);
    }
  }
  static int scale_of(const Block& b, int run) {
    const int low = run < 8 ? b.scales[run] & 15 : b.scales[run - 8] >> 4;
    return (low | (b.scales[8 + run % 4] >> run / 4 * 2 & 3) << 4) - 32;
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q3K>(cells);
    std::uint8_t q[block];
    codes(b, q);
    for (int run = 0; run < 16; ++run) {
      const float scale = to_float(b.d) * float(scale_of(b, run));
      for (int k = 16 * run; k < 16 * (run + 1); ++k) to[k] = scale * float(q[k] - 4);
    }
  }
};

}  // namespace ivl
