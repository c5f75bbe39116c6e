// The bodies of iq3_xxs.hpp.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq3_xxs.hpp"

namespace ivl {

IVL_INLINE void Iq3Xxs::codes(const Block& b, std::uint8_t* to) {
  for (int run = 0; run < 8; ++run) {
    const std::uint32_t bits = bits_of(b, run);
    for (int l = 0; l < 8; ++l, to += 4) {
      const unsigned signs = detail::with_even_sign(bits >> l / 2 * 7 & 127) >> l % 2 * 4;
      detail::signed_letters<8, 4>(
          iq3_xxs_grid[b.rows[8 * run + l]].data(), signs, [](int value) { return value / 8; }, to);
    }
  }
}

IVL_INLINE int Iq3Xxs::scale_of(const Block& b, int run) { return int(2 * (bits_of(b, run) >> 28) + 1); }

IVL_INLINE void Iq3Xxs::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_table<Iq3Xxs, 32>(detail::block_at<Iq3Xxs>(cells), iq3_xxs_values, to);
}

IVL_INLINE std::uint32_t Iq3Xxs::bits_of(const Block& b, int run) {
  std::uint32_t bits;
  std::memcpy(&bits, b.signs_and_scales[run], sizeof bits);
  return bits;
}

}  // namespace ivl
