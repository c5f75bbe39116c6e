// AWQ in four bits, as AutoAWQ's and LMDeploy's "gemm" version stores it: 128 inputs of one output share a scale and a
// zero point.
//
//   W[n, k] = (q[k, n] - z[k / 128, n]) s[k / 128, n]      q, z in 0 ... 15
//
//   qweight   [in, out / 8] int32      scales   [in / 128, out] f16      qzeros   [in / 128, out / 8] int32
//
// A word of qweight or qzeros holds eight neighbouring outputs; its bits 4i ... 4i + 3 are those of output
// 0, 2, 4, 6, 1, 3, 5, 7.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl {

/// The first bit of output j of a word.
inline constexpr int awq_shift[8] = {0, 16, 4, 20, 8, 24, 12, 28};

namespace detail {

template <class ScaleScalar>
struct AwqFormat {
  using Scale = ScaleScalar;
  static constexpr std::size_t scale_plane = 1;
  static constexpr float largest = 15;
  static constexpr int block = 128;
  static constexpr bool inputs_first = true;
  static constexpr Cell planes[3] = {
      {"qweight", 8, 1, 4}, {"scales", 1, block, sizeof(Scale)}, {"qzeros", 8, block, 4}};

  /// q or z of output `output` of a word.
  static int code(const std::byte* word, int output) {
    std::uint32_t bits;
    std::memcpy(&bits, word, sizeof bits);
    return int(bits >> awq_shift[output] & 15);
  }
  static void codes(const BlockCells& cells, std::uint8_t* to) {
    for (int k = 0; k < block; ++k) to[k] = std::uint8_t(code(cells.at[0] + k * cells.to_next_input[0], cells.output));
  }
  static float scale_of(const BlockCells& cells) {
    Scale scale;
    std::memcpy(&scale, cells.at[scale_plane], sizeof scale);
    return to_float(scale);
  }
  static int zero_of(const BlockCells& cells) { return code(cells.at[2], cells.output); }
  /// Exact for a half: 11 bits times 4 and a sign fit a float; a float as scale rounds once. (AutoAWQ's kernels round
  /// the product to half.)
  static void dequantise(const BlockCells& cells, float* to) {
    std::uint8_t q[block];
    codes(cells, q);
    const float scale = scale_of(cells);
    const int zero = zero_of(cells);
    for (int k = 0; k < block; ++k) to[k] = float(q[k] - zero) * scale;
  }
};

}  // namespace detail

/// As published.
struct Awq : detail::AwqFormat<half> {
  static constexpr std::string_view name = "awq";
};
/// As LMDeploy may write it of models that are not in half.
struct AwqF32 : detail::AwqFormat<float> {
  static constexpr std::string_view name = "awq with F32 scales";
};
struct AwqBf16 : detail::AwqFormat<bf16> {
  static constexpr std::string_view name = "awq with BF16 scales";
};

}  // namespace ivl
