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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5K>(cells);
    for (int run = 0; run < 8; ++run) {
      const auto [six_bits, min_bits] = detail::scale_and_minimum(b.scales, run);
      const float scale = to_float(b.d) * float(six_bits), minimum = to_float(b.dmin) * float(min_bits);
      const std::uint8_t* codes = b.codes[run / 2];
      const int shift = run % 2 * 4;
      for (int l = 0; l < 32; ++l) {
        const int q = (codes[l] >> shift & 15) | (b.high[l] >> run & 1) << 4;
        to[32 * run + l] = scale * float(q) - minimum;
      }
    }
  }
};

}  // namespace ivl
