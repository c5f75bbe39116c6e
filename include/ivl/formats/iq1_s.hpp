// IQ1_S of ggml: 32 rows of a grid of 2048 whose values are -1, 0 and 1; four of them share a scale of three bits and a
// shift, an eighth up or down.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

namespace detail {

/// What is added to the values of a row, in units of its scale.
inline constexpr float iq1_shift = 0.125f;

/// to[j] = scale (row's value j + shift)
void shifted_row(float scale, int row, float shift, float* to);

}  // namespace detail

struct Iq1S : detail::BlockFormat<256, 50> {
  static constexpr std::string_view name = "iq1_s";
  struct Block {
    half d;
    std::uint8_t rows[32];  // the low eight bits of their numbers
    std::uint16_t high[8];  // three bits for each of four rows, the scale, and whether the shift is down
  };

  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq1_s.ipp"
#endif
