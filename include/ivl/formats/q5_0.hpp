// Q5_0 of ggml: 32 codes of five bits and a scale; element k is d (q[k] - 16).
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q5_0 : detail::BlockFormat<32, 22> {
  static constexpr std::string_view name = "q5_0";
  struct Block {
    half d;
    std::uint8_t high[4];  // bit k of them is the fifth bit of element k
    std::uint8_t codes[16];
  };

  static void codes(const Block& b, std::uint8_t* to) { detail::five_bits(b.codes, b.high, to); }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5_0>(cells);
    const float d = to_float(b.d);
    std::uint8_t q[block];
    codes(b, q);
    for (int k = 0; k < block; ++k) to[k] = d * float(q[k] - 16);
  }
};

}  // namespace ivl
