// Q4_1 of ggml: 32 codes of four bits, a scale and a minimum; element k is d q[k] + m.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q4_1 : detail::BlockFormat<32, 20> {
  static constexpr std::string_view name = "q4_1";
  struct Block {
    half d, m;
    std::uint8_t codes[16];
  };

  static void codes(const Block& b, std::uint8_t* to) {
    detail::each_nibble(b.codes, to, [](int q, int) { return std::uint8_t(q); });
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q4_1>(cells);
    const float d = to_float(b.d), m = to_float(b.m);
    detail::each_nibble(b.codes, to, [&](int q, int) { return d * float(q) + m; });
  }
};

}  // namespace ivl
