// Q4_K of ggml: eight runs of 32 codes of four bits; a run has a scale and a minimum of six bits each.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

namespace detail {

/// The scale and the minimum of one of eight runs, of Q4_K and Q5_K.
struct ScaleAndMinimum {
  int scale, minimum;
};
constexpr ScaleAndMinimum scale_and_minimum(const std::uint8_t (&s)[12], int run) {
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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q4K>(cells);
    for (int run = 0; run < 8; ++run) {
      const auto [six_bits, min_bits] = detail::scale_and_minimum(b.scales, run);
      const float scale = to_float(b.d) * float(six_bits), minimum = to_float(b.dmin) * float(min_bits);
      const std::uint8_t* codes = b.codes[run / 2];
      const int shift = run % 2 * 4;
      for (int l = 0; l < 32; ++l) to[32 * run + l] = scale * float(codes[l] >> shift & 15) - minimum;
    }
  }
};

}  // namespace ivl
