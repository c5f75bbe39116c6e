// Q5_0 of ggml: 32 codes of five bits and a scale; element k is d (q[k] - 16).
#pragma once
#include <cstdint>
#include <cstring>
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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5_0>(cells);
    const float d = to_float(b.d);
    std::uint32_t high;
    std::memcpy(&high, b.high, sizeof high);
    detail::each_nibble(b.codes, to, [&](int q, int k) { return d * float((q | int(high >> k & 1) << 4) - 16); });
  }
};

}  // namespace ivl
