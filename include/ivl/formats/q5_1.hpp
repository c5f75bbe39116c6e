// Q5_1 of ggml: 32 codes of five bits, a scale and a minimum; element k is d q[k] + m.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q5_1 : detail::BlockFormat<32, 24> {
  static constexpr std::string_view name = "q5_1";
  struct Block {
    half d, m;
    std::uint8_t high[4];  // bit k of them is the fifth bit of element k
    std::uint8_t codes[16];
  };

  static void codes(const Block& b, std::uint8_t* to) { detail::five_bits(b.codes, b.high, to); }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5_1>(cells);
    const float d = to_float(b.d), m = to_float(b.m);
    std::uint8_t q[block];
    codes(b, q);
    for (int k = 0; k < block; ++k) to[k] = d * float(q[k]) + m;
  }
};

}  // namespace ivl
