// Q4_0 of ggml: 32 codes of four bits and a scale; element k is d (q[k] - 8).
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/block_format.hpp"

namespace ivl {

struct Q4_0 : detail::BlockFormat<32, 18> {
  static constexpr std::string_view name = "q4_0";
  struct Block {
    half d;
    std::uint8_t codes[16];
  };

  static void codes(const Block& b, std::uint8_t* to) {
    detail::each_nibble(b.codes, to, [](int q, int) { return std::uint8_t(q); });
  }
  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q4_0>(cells);
    const float d = to_float(b.d);
    detail::each_nibble(b.codes, to, [&](int q, int) { return d * float(q - 8); });
  }
};

}  // namespace ivl
