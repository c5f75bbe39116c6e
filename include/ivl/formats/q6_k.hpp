// Q6_K of ggml: 16 runs of 16 codes of six bits, from -32 to 31; a run has a scale of eight bits with a sign.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q6K : detail::BlockFormat<256, 210> {
  static constexpr std::string_view name = "q6_k";
  struct Block {
    std::uint8_t low[2][64];   // of 128 elements: the low four bits are the first 64
    std::uint8_t high[2][32];  // of 128 elements: bits 2g of byte l belong to element 32 g + l
    std::int8_t scales[16];
    half d;
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q6K>(cells);
    for (int run = 0; run < 16; ++run) {
      const float d = to_float(b.d) * float(b.scales[run]);
      const int in_half = run % 8;  // of 128 elements
      const std::uint8_t *low = b.low[run / 8] + 16 * (in_half % 4), *high = b.high[run / 8] + 16 * (in_half % 2);
      const int low_shift = in_half / 4 * 4, high_shift = in_half / 2 * 2;
      for (int l = 0; l < 16; ++l) {
        const int q = (low[l] >> low_shift & 15) | (high[l] >> high_shift & 3) << 4;
        to[16 * run + l] = d * float(q - 32);
      }
    }
  }
};

}  // namespace ivl
