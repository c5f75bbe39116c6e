// IQ3_XXS of ggml: 64 rows, four elements each, of a grid of 256; for eight of them signs and a scale of four bits.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

/// What codes of four bits stand for: quarters of the eight letters of its grid; the fourth bit is the sign.
inline constexpr float iq3_xxs_values[16] = {1, 3, 5, 7, 9, 11, 13, 15.5f, -1, -3, -5, -7, -9, -11, -13, -15.5f};

struct Iq3Xxs : detail::BlockFormat<256, 98> {
  static constexpr std::string_view name = "iq3_xxs";
  struct Block {
    half d;
    std::uint8_t rows[64];
    std::uint8_t signs_and_scales[8][4];  // of eight rows: seven bits for two rows, then the scale
  };

  static void codes(const Block& b, std::uint8_t* to);
  static int scale_of(const Block& b, int run);
  static void dequantise(const BlockCells& cells, float* to);

 private:
  static std::uint32_t bits_of(const Block& b, int run);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq3_xxs.ipp"
#endif
