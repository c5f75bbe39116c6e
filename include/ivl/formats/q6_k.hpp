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

  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) {
      const int half = k / 128, in_half = k % 128;
      const int low = b.low[half][in_half % 64] >> in_half / 64 * 4 & 15;
      to[k] = std::uint8_t(low | (b.high[half][in_half % 32] >> in_half / 32 * 2 & 3) << 4);
    }
  }
  static int scale_of(const Block& b, int run) { return b.scales[run]; }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q6K>(cells);
    std::uint8_t q[block];
    codes(b, q);
    for (int run = 0; run < 16; ++run) {
      const float scale = to_float(b.d) * float(scale_of(b, run));
      for (int k = 16 * run; k < 16 * (run + 1); ++k) to[k] = scale * float(q[k] - 32);
    }
  }
};

}  // namespace ivl
