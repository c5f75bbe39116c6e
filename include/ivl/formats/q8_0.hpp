// Q8_0 of GGUF: blocks of 32 bytes with a sign that share one half.
//
//   block   scale d (f16), then 32 int8 q; element k is d q[k]
//
// A matrix [out, in] is out rows of in / 32 blocks.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl {

struct Q8_0 {
  static constexpr std::string_view name = "q8_0";
  static constexpr int block = 32;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[] = {{"blocks", 1, block, 2 + block}};

  /// Exact: 11 bits of a half times 8 fit a float.
  static void dequantise(const BlockCells& cells, float* to) {
    half scale;
    std::int8_t codes[block];
    std::memcpy(&scale, cells.at[0], sizeof scale);
    std::memcpy(codes, cells.at[0] + sizeof scale, sizeof codes);
    for (int k = 0; k < block; ++k) to[k] = to_float(scale) * float(codes[k]);
  }
};

}  // namespace ivl
