// The bodies of iq1_m.hpp.
#pragma once
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq1_m.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

IVL_INLINE float Iq1M::scale_of(const Block& b) {
  unsigned bits = 0;
  for (int word = 0; word < 4; ++word) bits |= unsigned(b.scales[word] >> 12) << 4 * word;
  return to_float(half{std::uint16_t(bits)});
}

IVL_INLINE void Iq1M::dequantise(const BlockCells& cells, float* to) {
  const Block b = detail::block_at<Iq1M>(cells);
  const float scale = scale_of(b);
  for (int i = 0; i < 32; ++i) {
    const int high = detail::nibble(b.high, i);
    const float d = scale * float(2 * (b.scales[i / 8] >> i % 8 / 2 * 3 & 7) + 1);
    const int row = b.rows[i] | (high & 7) << 8;
    detail::shifted_row(d, row, high & 8 ? -detail::iq1_shift : detail::iq1_shift, to + 8 * i);
  }
}

}  // namespace ivl
