// MXFP4 (OCP Microscaling Formats 1.0): blocks of 32 four-bit floats that share one power of two.
//
//   element   e2m1: a sign, two bits of exponent, one of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6, then their negatives
//   scale     e8m0: 2^(byte - 127); 255 is NaN
//
// A matrix [out, in] is two U8 tensors, as transformers' mxfp4 integration reads them: `*_blocks` [out, in / 32, 16],
// where byte j of a block holds element 2j in its low four bits and element 2j + 1 in its high ones, and `*_scales`
// [out, in / 32].
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "ivl/formats/cells.hpp"

namespace ivl {

/// Elements that share a scale, and the bytes that hold their codes.
inline constexpr int mxfp4_block = 32;
inline constexpr int mxfp4_block_bytes = mxfp4_block / 2;

/// What the codes 0 ... 15 stand for.
inline constexpr float e2m1_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                          -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

constexpr float e8m0_value(std::uint8_t scale) {
  if (scale == 255) return std::numeric_limits<float>::quiet_NaN();
  // 2^-127 is subnormal: it has no exponent, only a bit of its mantissa.
  return std::bit_cast<float>(scale == 0 ? 0x00400000u : std::uint32_t(scale) << 23);
}

struct Mxfp4 {
  static constexpr std::string_view name = "mxfp4";
  static constexpr int block = mxfp4_block;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[] = {{"blocks", 1, block, mxfp4_block_bytes}, {"scales", 1, block, 1}};
  static constexpr Refused refused[1] = {{1, std::byte{255}, "a scale of MXFP4 is 255, which is not a number"}};

  /// Exact: only 2^128 and above, which floats do not have, become infinite.
  static void dequantise(const BlockCells& cells, float* to) {
    const float scale = e8m0_value(std::to_integer<std::uint8_t>(*cells.at[1]));
    for (int j = 0; j < mxfp4_block_bytes; ++j) {
      const auto codes = std::to_integer<unsigned>(cells.at[0][j]);
      to[2 * j] = e2m1_values[codes & 15] * scale;
      to[2 * j + 1] = e2m1_values[codes >> 4] * scale;
    }
  }
};

}  // namespace ivl
