// Q8_0 of GGUF: blocks of 32 bytes with a sign that share one half.
//
//   block   scale d (f16), then 32 int8 q; element k is d q[k]
//
// A matrix [out, in] is out rows of in / 32 blocks.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q8_0 : detail::BlockFormat<32, 34> {
  static constexpr std::string_view name = "q8_0";
  struct Block {
    half d;
    std::int8_t codes[32];
  };

  /// 128 more than they are.
  static void codes(const Block& b, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) to[k] = std::uint8_t(b.codes[k] ^ 0x80);
  }
  /// Exact: 11 bits of a half times 8 fit a float.
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q8_0>(cells);
    for (int k = 0; k < 32; ++k) to[k] = to_float(b.d) * float(b.codes[k]);
  }
};

}  // namespace ivl
