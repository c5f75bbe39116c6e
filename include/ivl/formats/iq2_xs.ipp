// The bodies of iq2_xs.hpp.
#pragma once
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_xs.hpp"

namespace ivl {

IVL_INLINE void Iq2Xs::codes(const Block& b, std::uint8_t* to) {
  for (int i = 0; i < 32; ++i) {
    detail::signed_letters<4, 8>(iq2_xs_grid[b.rows[i] & 511].data(), detail::with_even_sign(b.rows[i] >> 9),
                                 detail::iq2_letter, to + 8 * i);
  }
}

IVL_INLINE int Iq2Xs::scale_of(const Block& b, int run) { return 2 * detail::nibble(b.scales, run) + 1; }

IVL_INLINE void Iq2Xs::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_table<Iq2Xs, 16>(detail::block_at<Iq2Xs>(cells), iq2_values, to);
}

}  // namespace ivl
