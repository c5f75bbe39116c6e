// Q2_K of ggml: 16 runs of 16 codes of two bits; a run has a scale and a minimum of four bits each.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q2K : detail::BlockFormat<256, 84> {
  static constexpr std::string_view name = "q2_k";
  struct Block {
    std::uint8_t scales[16];    // a run's scale in the low four bits, its minimum in the high ones
    std::uint8_t codes[2][32];  // of 128 elements: bits 2g of byte l are element 32 g + l
    half d, dmin;
  };

  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) to[k] = std::uint8_t(b.codes[k / 128][k % 32] >> k % 128 / 32 * 2 & 3);
  }
  static detail::ScaleAndMinimum scale_and_minimum(const Block& b, int run) {
    return {b.scales[run] & 15, b.scales[run] >> 4};
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q2K>(cells);
    std::uint8_t q[block];
    codes(b, q);
    for (int run = 0; run < 16; ++run) {
      const auto [scale_bits, minimum_bits] = scale_and_minimum(b, run);
      const float scale = to_float(b.d) * float(scale_bits), minimum = to_float(b.dmin) * float(minimum_bits);
      for (int k = 16 * run; k < 16 * (run + 1); ++k) to[k] = scale * float(q[k]) - minimum;
    }
  }
};

}  // namespace ivl
