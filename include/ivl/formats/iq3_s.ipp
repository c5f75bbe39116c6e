// The bodies of iq3_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq3_s.hpp"

namespace ivl {

IVL_INLINE void Iq3S::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq3S>(cells);
  for (int i = 0; i < 64; ++i) {
    const float d = to_float(b.d) * float(1 + 2 * detail::nibble(b.scales, i / 8));
    const int row = b.rows[i] | (b.high[i / 8] >> i % 8 & 1) << 8;
    detail::signed_values<4>(d, iq3_s_grid[std::size_t(row)].data(), unsigned(detail::nibble(b.signs, i)), to + 4 * i);
  }
}

}  // namespace ivl
