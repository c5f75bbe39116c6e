// IQ2_XXS of ggml: eight runs of 32 elements, each four rows of a grid of 256, with signs, and a scale of four bits a
// run.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Iq2Xxs : detail::BlockFormat<256, 66> {
  static constexpr std::string_view name = "iq2_xxs";
  struct Run {
    std::uint8_t rows[4];
    std::uint8_t signs_and_scale[4];  // seven bits a row, then the scale
  };
  struct Block {
    half d;
    Run runs[8];
  };

  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq2_xxs.ipp"
#endif
