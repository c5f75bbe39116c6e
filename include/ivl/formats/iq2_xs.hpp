// IQ2_XS of ggml: 32 rows of a grid of 512, each with signs; a scale of four bits for two of them.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/iq2_xxs.hpp"

namespace ivl {

struct Iq2Xs : detail::BlockFormat<256, 74> {
  static constexpr std::string_view name = "iq2_xs";
  struct Block {
    half d;
    std::uint16_t rows[32];  // nine bits of a row's number, seven of its signs
    std::uint8_t scales[8];
  };

  static void codes(const Block& b, std::uint8_t* to);
  static int scale_of(const Block& b, int run);
  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq2_xs.ipp"
#endif
