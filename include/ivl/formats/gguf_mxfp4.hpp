// MXFP4 as GGUF has it: the scale stands before its 32 codes, whose low four bits are elements 0 ... 15 and whose high
// ones are 16 ... 31. safetensors' `Mxfp4` has scales apart and neighbours in one byte, so no view of these bytes is
// one of those.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/formats/block_format.hpp"
#include "ivl/formats/mxfp4.hpp"

namespace ivl {

struct GgufMxfp4 : detail::BlockFormat<32, 17> {
  static constexpr std::string_view name = "mxfp4";
  struct Block {
    std::uint8_t scale;
    std::uint8_t codes[16];
  };

  static float scale_of(const Block& b) { return e8m0_value(b.scale); }
  static void codes(const Block& b, std::uint8_t* to) {
    detail::each_nibble(b.codes, to, [](int q, int) { return std::uint8_t(q); });
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<GgufMxfp4>(cells);
    const float scale = scale_of(b);
    // The code 8 is -0, and ggml has no such number.
    detail::each_nibble(b.codes, to, [&](int q, int) { return e2m1_values[q] * scale + 0.0f; });
  }
};

}  // namespace ivl
