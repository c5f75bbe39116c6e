// Q4_K of ggml: eight runs of 32 codes of four bits; a run has a scale and a minimum of six bits each.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

namespace detail {

/// The scale and the minimum of one of eight runs, of Q4_K and Q5_K.
constexpr ScaleAndMinimum six_bits(const std::uint8_t (&s)[12], int run) {
  if (run < 4) return {s[run] & 63, s[run + 4] & 63};
  return {(s[run + 4] & 15) | s[run - 4] >> 6 << 4, s[run + 4] >> 4 | s[run] >> 6 << 4};
}

}  // namespace detail

struct Q4K : detail::BlockFormat<256, 144> {
  static constexpr std::string_view name = "q4_k";
  struct Block {
    half d, dmin;
    std::uint8_t scales[12];
    std::uint8_t codes[4][32];  // of 64 elements: the low four bits are the first 32
  };

  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) to[k] = std::uint8_t(b.codes[k / 64][k % 32] >> k % 64 / 32 * 4 & 15);
  }
  static detail::ScaleAndMinimum scale_and_minimum(const Block& b, int run) { return detail::six_bits(b.scales, run); }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q4K>(cells);
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
