// IQ2_S of ggml: 32 rows of a grid of 1024, each with all its signs; a scale of four bits for two of them.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/iq2_xxs.hpp"

namespace ivl {

struct Iq2S : detail::BlockFormat<256, 82> {
  static constexpr std::string_view name = "iq2_s";
  struct Block {
    half d;
    std::uint8_t rows[32];  // the low eight bits of their numbers
    std::uint8_t signs[32];
    std::uint8_t high[8];  // two bits a row
    std::uint8_t scales[8];
  };

  static void codes(const Block& b, std::uint8_t* to);
  static int scale_of(const Block& b, int run);
  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq2_s.ipp"
#endif
