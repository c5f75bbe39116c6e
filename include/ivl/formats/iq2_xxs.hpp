// IQ2_XXS of ggml: eight runs of 32 elements, each four rows of a grid of 256, with signs, and a scale of four bits a
// run.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

/// What codes of three bits stand for in IQ2_XXS, IQ2_XS and IQ2_S: eighths of the letters 8, 25 and 43 of their grids;
/// the third bit is the sign.
inline constexpr float iq2_values[8] = {1, 3.125f, 5.375f, 0, -1, -3.125f, -5.375f, 0};

namespace detail {
/// Of a value of those grids.
constexpr int iq2_letter(int value) { return value >> 4; }
}  // namespace detail

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

  static void codes(const Block& b, std::uint8_t* to);
  /// Of a run of 16, as IQ2_XS and IQ2_S have it.
  static int scale_of(const Block& b, int run);
  static void dequantise(const BlockCells& cells, float* to);

 private:
  static std::uint32_t bits_of(const Run& run);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq2_xxs.ipp"
#endif
