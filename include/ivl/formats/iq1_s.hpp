// IQ1_S of ggml: 32 rows of a grid of 2048 whose values are -1, 0 and 1; four of them share a scale of three bits and a
// shift, an eighth up or down.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

namespace detail {

/// The values of a row, one more than they are.
void iq1_letters(int row, std::uint8_t* to);

/// to[k] = d scale_of(k / 16) (code[k] - 1 + 1/8, or - 1/8 where the shift of k's row is down), exactly.
template <class F>
void dequantise_iq1(const typename F::Block& b, float* to) {
  std::uint8_t q[F::block];
  F::codes(b, q);
  for (int k = 0; k < F::block; ++k) {
    const float scale = to_float(F::d_of(b)) * float(F::scale_of(b, k / 16));
    to[k] = scale * (float(q[k]) - (F::shifted_down(b, k / 8) ? 1.125f : 0.875f));
  }
}

}  // namespace detail

struct Iq1S : detail::BlockFormat<256, 50> {
  static constexpr std::string_view name = "iq1_s";
  struct Block {
    half d;
    std::uint8_t rows[32];  // the low eight bits of their numbers
    std::uint16_t high[8];  // three bits for each of four rows, the scale, and whether the shift is down
  };

  static half d_of(const Block& b) { return b.d; }
  static void codes(const Block& b, std::uint8_t* to);
  /// Of a run of 16, as IQ1_M has it.
  static int scale_of(const Block& b, int run) { return 2 * (b.high[run / 2] >> 12 & 7) + 1; }
  static bool shifted_down(const Block& b, int row) { return b.high[row / 4] & 0x8000; }
  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq1_s.ipp"
#endif
