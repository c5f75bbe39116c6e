// The bodies of iq3_s.hpp.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ivl/formats/gguf_grids.hpp"
#include "ivl/formats/iq3_s.hpp"

namespace ivl {

IVL_INLINE void Iq3S::codes(const Block& b, std::uint8_t* to) {
  for (int i = 0; i < 64; ++i) {
    const int row = b.rows[i] | (b.high[i / 8] >> i % 8 & 1) << 8;
    detail::signed_letters<8, 4>(
        iq3_s_grid[std::size_t(row)].data(), unsigned(detail::nibble(b.signs, i)), [](int value) { return value / 2; },
        to + 4 * i);
  }
}

IVL_INLINE int Iq3S::scale_of(const Block& b, int run) { return 2 * detail::nibble(b.scales, run) + 1; }

IVL_INLINE void Iq3S::dequantise(const BlockCells& cells, float* to) {
  detail::dequantise_table<Iq3S, 32>(detail::block_at<Iq3S>(cells), iq3_s_values, to);
}

}  // namespace ivl
