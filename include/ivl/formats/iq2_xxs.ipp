// The bodies of iq2_xxs.hpp.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq2_xxs.hpp"

namespace ivl {

IVL_INLINE void Iq2Xxs::codes(const Block& b, std::uint8_t* to) {
  for (const Run& run : b.runs) {
    const std::uint32_t bits = bits_of(run);
    for (int l = 0; l < 4; ++l, to += 8) {
      detail::signed_letters<4, 8>(iq2_xxs_grid[run.rows[l]].data(), detail::with_even_sign(bits >> 7 * l & 127),
                                   detail::iq2_letter, to);
    }
  }
}

IVL_INLINE int Iq2Xxs::scale_of(const Block& b, int run) { return int(2 * (bits_of(b.runs[run / 2]) >> 28) + 1); }

IVL_INLINE void Iq2Xxs::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_table<Iq2Xxs, 16>(detail::block_at<Iq2Xxs>(cells), iq2_values, to);
}

IVL_INLINE std::uint32_t Iq2Xxs::bits_of(const Run& run) {
  std::uint32_t bits;
  std::memcpy(&bits, run.signs_and_scale, sizeof bits);
  return bits;
}

}  // namespace ivl
