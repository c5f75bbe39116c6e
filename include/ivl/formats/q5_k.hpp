// Q5_K of ggml: Q4_K with a fifth bit.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/q4_k.hpp"

namespace ivl {

struct Q5K : detail::BlockFormat<256, 176> {
  static constexpr std::string_view name = "q5_k";
  struct Block {
    half d, dmin;
    std::uint8_t scales[12];    // as in Q4_K
    std::uint8_t high[32];      // bit g of byte l is the fifth bit of element 32 g + l
    std::uint8_t codes[4][32];  // as in Q4_K
  };

  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) {
      const int low = b.codes[k / 64][k % 32] >> k % 64 / 32 * 4 & 15;
      to[k] = std::uint8_t(low | (b.high[k % 32] >> k / 32 & 1) << 4);
    }
  }
  static detail::ScaleAndMinimum scale_and_minimum(const Block& b, int run) { return detail::six_bits(b.scales, run); }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5K>(cells);
    std::uint8_t q[block];
    codes(b, q);
    for (int run = 0; run < 8; ++run) {
      const auto [scale_bits, minimum_bits] = scale_and_minimum(b, run);
      const float scale = to_float(b.d) * float(scale_bits), minimum = to_float(b.dmin) * float(minimum_bits);
      for (int k = 32 * run; k < 32 * (run + 1); ++k) to[k] = scale * float(q[k]) - minimum;
    }
  }
};

}  // namespace ivl
