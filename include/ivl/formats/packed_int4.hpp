// Integers of four bits along the inputs, as compressed-tensors' "pack-quantized" stores them: a group of inputs of one
// output shares a scale and, where it is asymmetric, a zero point.
//
//   W[n, k] = (q[n, k] - z[n, k / group]) weight_scale[n, k / group]      q, z in 0 ... 15; z is 8 where none is stored
//
//   weight_packed       [out, in / 8] int32              bits 4i ... 4i + 3 are those of input 8c + i
//   weight_scale        [out, in / group]
//   weight_zero_point   [out / 8, in / group] int32      bits 4i ... 4i + 3 are those of output 8c + i
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl {

/// The zero points of a symmetric matrix: one cell that stands for all.
inline constexpr std::array<std::byte, 4> int4_middle{std::byte{0x88}, std::byte{0x88}, std::byte{0x88},
                                                      std::byte{0x88}};

namespace detail {

template <int group, class ScaleScalar>
struct PackedInt4 {
  using Scale = ScaleScalar;
  static constexpr std::size_t scale_plane = 1;
  static constexpr float largest = 15;
  static constexpr int block = 32;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[3] = {  // nvcc 13.0 needs the 3
      {"weight_packed", 1, 8, 4},
      {"weight_scale", 1, group, sizeof(Scale)},
      {"weight_zero_point", 8, group, 4, true}};

  static void codes(const BlockCells& cells, std::uint8_t* to) {
    std::uint32_t words[block / 8];
    std::memcpy(words, cells.at[0], sizeof words);
    for (int k = 0; k < block; ++k) to[k] = words[k / 8] >> 4 * (k % 8) & 15;
  }
  static float scale_of(const BlockCells& cells) {
    Scale scale;
    std::memcpy(&scale, cells.at[scale_plane], sizeof scale);
    return to_float(scale);
  }
  static int zero_of(const BlockCells& cells) {
    std::uint32_t zeros;
    std::memcpy(&zeros, cells.at[2], sizeof zeros);
    return int(zeros >> 4 * cells.output & 15);
  }
  /// One rounding, and none where the scale is a bf16 or a half. (compressed-tensors rounds to the scale's type.)
  static void dequantise(const BlockCells& cells, float* to) {
    std::uint8_t q[block];
    codes(cells, q);
    const float scale = scale_of(cells);
    const int zero = zero_of(cells);
    for (int k = 0; k < block; ++k) to[k] = float(q[k] - zero) * scale;
  }
};

}  // namespace detail

template <class Scale>
struct Int4By32 : detail::PackedInt4<32, Scale> {
  static constexpr std::string_view name =
      scaled_name<Scale>("int4 by 32 with F32 scales", "int4 by 32 with BF16 scales", "int4 by 32 with F16 scales");
};
template <class Scale>
struct Int4By128 : detail::PackedInt4<128, Scale> {
  static constexpr std::string_view name =
      scaled_name<Scale>("int4 by 128 with F32 scales", "int4 by 128 with BF16 scales", "int4 by 128 with F16 scales");
};

}  // namespace ivl
