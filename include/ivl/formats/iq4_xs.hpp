// IQ4_XS of ggml: eight runs of 32 codes as IQ4_NL has them, each run with a scale of six bits.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/iq4_nl.hpp"

namespace ivl {

struct Iq4Xs : detail::BlockFormat<256, 136> {
  static constexpr std::string_view name = "iq4_xs";
  struct Block {
    half d;
    std::uint16_t scales_high;   // two bits a run
    std::uint8_t scales_low[4];  // four bits a run
    std::uint8_t codes[8][16];
  };

  static void codes(const Block& b, std::uint8_t* to) {
    for (int run = 0; run < 8; ++run)
      detail::each_nibble(b.codes[run], to + 32 * run, [](int q, int) { return std::uint8_t(q); });
  }
  static int scale_of(const Block& b, int run) {
    return (detail::nibble(b.scales_low, run) | (b.scales_high >> 2 * run & 3) << 4) - 32;
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq4Xs>(cells);
    std::uint8_t q[block];
    codes(b, q);
    for (int run = 0; run < 8; ++run) {
      const float scale = to_float(b.d) * float(scale_of(b, run));
      for (int k = 32 * run; k < 32 * (run + 1); ++k) to[k] = scale * iq4_values[q[k]];
    }
  }
};

}  // namespace ivl
