// IQ3_XXS of ggml: 64 rows, four elements each, of a grid of 256; for eight of them signs and a scale of four bits.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Iq3Xxs : detail::BlockFormat<256, 98> {
  static constexpr std::string_view name = "iq3_xxs";
  struct Block {
    half d;
    std::uint8_t rows[64];
    std::uint8_t signs_and_scales[8][4];  // of eight rows: seven bits for two rows, then the scale
  };

  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq3_xxs.ipp"
#endif
