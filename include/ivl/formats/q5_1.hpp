// Q5_1 of ggml: 32 codes of five bits, a scale and a minimum; element k is d q[k] + m.
#pragma once
#include <cstdint>
#include <cstring>
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

  static void dequantise(const BlockCells& cells, float* to) {
    const Block b = detail::block_at<Q5_1>(cells);
    const float d = to_float(b.d), m = to_float(b.m);
    std::uint32_t high;
    std::memcpy(&high, b.high, sizeof high);
    detail::each_nibble(b.codes, to, [&](int q, int k) { return d * float(q | int(high >> k & 1) << 4) + m; });
  }
};

}  // namespace ivl
