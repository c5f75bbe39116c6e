// The bodies of iq2_xxs.hpp.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_xxs.hpp"

namespace ivl {

IVL_INLINE void Iq2Xxs::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq2Xxs>(cells);
  for (const Run& run : b.runs) {
    std::uint32_t bits;
    std::memcpy(&bits, run.signs_and_scale, sizeof bits);
    const float d = to_float(b.d) * (0.5f + float(bits >> 28)) * 0.25f;
    for (int l = 0; l < 4; ++l, to += 8) {
      detail::signed_values<8>(d, iq2_xxs_grid[run.rows[l]].data(), detail::with_even_sign(bits >> 7 * l & 127), to);
    }
  }
}

}  // namespace ivl
