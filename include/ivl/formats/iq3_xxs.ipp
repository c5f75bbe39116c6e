// The bodies of iq3_xxs.hpp.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq3_xxs.hpp"

namespace ivl {

IVL_INLINE void Iq3Xxs::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq3Xxs>(cells);
  for (int run = 0; run < 8; ++run) {
    std::uint32_t bits;
    std::memcpy(&bits, b.signs_and_scales[run], sizeof bits);
    const float d = to_float(b.d) * (0.5f + float(bits >> 28)) * 0.5f;
    for (int l = 0; l < 8; ++l, to += 4) {
      const unsigned signs = detail::with_even_sign(bits >> l / 2 * 7 & 127) >> l % 2 * 4;
      detail::signed_values<4>(d, iq3_xxs_grid[b.rows[8 * run + l]].data(), signs, to);
    }
  }
}

}  // namespace ivl
