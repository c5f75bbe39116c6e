// The bodies of iq1_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

namespace detail {

IVL_INLINE void shifted_row(float scale, int row, float shift, float* to) {
  for (std::size_t j = 0; j < 8; ++j) to[j] = scale * (float(iq1_s_grid[std::size_t(row)][j]) + shift);
}

}  // namespace detail

IVL_INLINE void Iq1S::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq1S>(cells);
  for (int i = 0; i < 32; ++i) {
    const int high = b.high[i / 4];
    const float d = to_float(b.d) * float(2 * (high >> 12 & 7) + 1);
    const int row = b.rows[i] | (high >> i % 4 * 3 & 7) << 8;
    detail::shifted_row(d, row, high & 0x8000 ? -detail::iq1_shift : detail::iq1_shift, to + 8 * i);
  }
}

}  // namespace ivl
