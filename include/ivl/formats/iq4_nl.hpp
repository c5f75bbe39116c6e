// IQ4_NL of ggml: 32 codes of four bits that stand for values at uneven steps, and a scale.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

/// What the codes 0 ... 15 stand for, in units of the scale.
inline constexpr float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

struct Iq4Nl : detail::BlockFormat<32, 18> {
  static constexpr std::string_view name = "iq4_nl";
  struct Block {
    half d;
    std::uint8_t codes[16];
  };

  static void codes(const Block& b, std::uint8_t* to) {
    detail::each_nibble(b.codes, to, [](int q, int) { return std::uint8_t(q); });
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq4Nl>(cells);
    const float d = to_float(b.d);
    detail::each_nibble(b.codes, to, [&](int q, int) { return d * iq4_values[q]; });
  }
};

}  // namespace ivl
