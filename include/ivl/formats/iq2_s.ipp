// The bodies of iq2_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_s.hpp"

namespace ivl {

IVL_INLINE void Iq2S::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq2S>(cells);
  for (int i = 0; i < 32; ++i) {
    const float d = to_float(b.d) * (0.5f + float(detail::nibble(b.scales, i / 2))) * 0.25f;
    const int row = b.rows[i] | (b.high[i / 4] >> i % 4 * 2 & 3) << 8;
    detail::signed_values<8>(d, iq2_s_grid[std::size_t(row)].data(), b.signs[i], to + 8 * i);
  }
}

}  // namespace ivl
