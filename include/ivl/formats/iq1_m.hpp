// IQ1_M of ggml: IQ1_S with a scale of three bits for two rows and a shift for each. The scale of the block lies in
// pieces.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/iq1_s.hpp"

namespace ivl {

struct Iq1M : detail::BlockFormat<256, 56> {
  static constexpr std::string_view name = "iq1_m";
  struct Block {
    std::uint8_t rows[32];    // the low eight bits of their numbers
    std::uint8_t high[16];    // for each of two rows three bits, and whether its shift is down
    std::uint16_t scales[4];  // of four pairs of rows; the top four bits are a quarter of the block's scale
  };

  static half d_of(const Block& b);
  static float scale_of(const Block& b) { return to_float(d_of(b)); }
  static void codes(const Block& b, std::uint8_t* to);
  /// Of a run of 16.
  static int scale_of(const Block& b, int run) { return 2 * (b.scales[run / 4] >> run % 4 * 3 & 7) + 1; }
  static bool shifted_down(const Block& b, int row) { return detail::nibble(b.high, row) & 8; }
  static void dequantise(const BlockCells& cells, float* to);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/iq1_m.ipp"
#endif
