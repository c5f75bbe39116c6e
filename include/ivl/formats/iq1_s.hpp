// IQ1_S of ggml: 32 rows of a grid of 2048 whose values are -1, 0 and 1; four of them share a scale of three bits and a
// shift, an eighth up or down.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/gguf_grids.hpp"

namespace ivl {

namespace detail {

/// What is added to the values of a row, in units of its scale.
inline constexpr float iq1_shift = 0.125f;

/// to[j] = scale (row's value j + shift)
inline void shifted_row(float scale, int row, float shift, float* to) {
  for (std::size_t j = 0; j < 8; ++j) to[j] = scale * (float(iq1_s_grid[std::size_t(row)][j]) + shift);
}

}  // namespace detail

struct Iq1S : detail::BlockFormat<256, 50> {
  static constexpr std::string_view name = "iq1_s";
  struct Block {
    half d;
    std::uint8_t rows[32];  // the low eight bits of their numbers
    std::uint16_t high[8];  // three bits for each of four rows, the scale, and whether the shift is down
  };

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Iq1S>(cells);
    for (int i = 0; i < 32; ++i) {
      const int high = b.high[i / 4];
      const float d = to_float(b.d) * float(2 * (high >> 12 & 7) + 1);
      const int row = b.rows[i] | (high >> i % 4 * 3 & 7) << 8;
      detail::shifted_row(d, row, high & 0x8000 ? -detail::iq1_shift : detail::iq1_shift, to + 8 * i);
    }
  }
};

}  // namespace ivl
