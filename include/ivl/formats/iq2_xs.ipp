// The bodies of iq2_xs.hpp.
#pragma once
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_xs.hpp"

namespace ivl {

IVL_INLINE void Iq2Xs::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq2Xs>(cells);
  for (int i = 0; i < 32; ++i) {
    const float d = to_float(b.d) * (0.5f + float(detail::nibble(b.scales, i / 2))) * 0.25f;
    detail::signed_values<8>(d, iq2_xs_grid[b.rows[i] & 511].data(), detail::with_even_sign(b.rows[i] >> 9),
                             to + 8 * i);
  }
}

}  // namespace ivl
