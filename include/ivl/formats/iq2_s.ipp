// The bodies of iq2_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_s.hpp"

namespace ivl {

IVL_INLINE void Iq2S::codes(const Block& b, std::uint8_t* to) {
  for (int i = 0; i < 32; ++i) {
    const int row = b.rows[i] | (b.high[i / 4] >> i % 4 * 2 & 3) << 8;
    detail::signed_letters<4, 8>(iq2_s_grid[std::size_t(row)].data(), b.signs[i], detail::iq2_letter, to + 8 * i);
  }
}

IVL_INLINE int Iq2S::scale_of(const Block& b, int run) { return 2 * detail::nibble(b.scales, run) + 1; }

IVL_INLINE void Iq2S::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_table<Iq2S, 16>(detail::block_at<Iq2S>(cells), iq2_values, to);
}

}  // namespace ivl
