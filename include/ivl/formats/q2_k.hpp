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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q2K>(cells);
    for (int run = 0; run < 16; ++run) {
      const float scale = to_float(b.d) * float(b.scales[run] & 15),
                  minimum = to_float(b.dmin) * float(b.scales[run] >> 4);
      const std::uint8_t* codes = b.codes[run / 8] + 16 * (run % 2);
      const int shift = run % 8 / 2 * 2;
      for (int l = 0; l < 16; ++l) to[16 * run + l] = scale * float(codes[l] >> shift & 3) - minimum;
    }
  }
};

}  // namespace ivl
