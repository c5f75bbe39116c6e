// The bodies of iq1_m.hpp.
#pragma once
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq1_m.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

IVL_INLINE half Iq1M::d_of(const Block& b) {
  unsigned bits = 0;
  for (int word = 0; word < 4; ++word) bits |= unsigned(b.scales[word] >> 12) << 4 * word;
  return half{std::uint16_t(bits)};
}

IVL_INLINE void Iq1M::codes(const Block& b, std::uint8_t* to) {
  for (int i = 0; i < 32; ++i) detail::iq1_letters(b.rows[i] | (detail::nibble(b.high, i) & 7) << 8, to + 8 * i);
}

IVL_INLINE void Iq1M::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_iq1<Iq1M>(detail::block_at<Iq1M>(cells), to);
}

}  // namespace ivl
