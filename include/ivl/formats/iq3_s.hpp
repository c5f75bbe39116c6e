// IQ3_S of ggml: 64 rows, four elements each, of a grid of 512, with all their signs; a scale of four bits for eight
// rows.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

/// What codes of four bits stand for: the eight letters of its grid; the fourth bit is the sign.
inline constexpr float iq3_s_values[16] = {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15};

struct Iq3S : detail::BlockFormat<256, 110> {
  static constexpr std::string_view name = "iq3_s";
  struct Block {
    half d;
    std::uint8_t rows[64];  // the low eight bits of their numbers
    std::uint8_t high[8];   // the ninth
    std::uint8_t signs[32];
    std::uint8_t scales[4];
  };

  static void codes(const Block& b, std::uint8_t* to);
  static int scale_of(const Block& b, int run);
  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq3_s.ipp"
#endif
