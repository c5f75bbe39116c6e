// The bodies of iq1_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

namespace detail {

IVL_INLINE void iq1_letters(int row, std::uint8_t* to) {
  for (std::size_t j = 0; j < 8; ++j) to[j] = std::uint8_t(iq1_s_grid[std::size_t(row)][j] + 1);
}

}  // namespace detail

IVL_INLINE void Iq1S::codes(const Block& b, std::uint8_t* to) {
  for (int i = 0; i < 32; ++i) detail::iq1_letters(b.rows[i] | (b.high[i / 4] >> i % 4 * 3 & 7) << 8, to + 8 * i);
}

IVL_INLINE void Iq1S::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_iq1<Iq1S>(detail::block_at<Iq1S>(cells), to);
}

}  // namespace ivl
