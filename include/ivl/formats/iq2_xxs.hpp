// IQ2_XXS of ggml: eight runs of 32 elements, each four rows of a grid of 256, with signs, and a scale of four bits a
// run.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq2Xxs>(cells);
    for (const Run& run : b.runs) {
      std::uint32_t bits;
      std::memcpy(&bits, run.signs_and_scale, sizeof bits);
      const float d = to_float(b.d) * (0.5f + float(bits >> 28)) * 0.25f;
      for (int l = 0; l < 4; ++l, to += 8) {
        detail::signed_values<8>(d, iq2_xxs_grid[run.rows[l]].data(), detail::with_even_sign(bits >> 7 * l & 127), to);
      }
    }
  }
};

}  // namespace ivl
