// Codes of 8 bits that share scales, as folders of safetensors hold them.
//
//   W[n, k] = code[n, k] scale      weight [out, in] F8_E4M3 or I8
//
//   FP8 in blocks     weight_scale_inv [out / 128, in / 128], the last row and column of fewer weights; despite its
//                     name a factor
//   FP8, int8         weight_scale [out, 1], or one for all
//   LLM.int8          SCB [out] F32, the greatest magnitude of a row: W = code SCB / 127
//
// F8_E4M3: a sign, four bits of exponent, three of mantissa; no infinities; 0x7f and 0xff are NaN.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl {

constexpr float e4m3_value(std::uint8_t code) {
  const std::uint32_t sign = std::uint32_t(code & 0x80) << 24, exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 0x7f) == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 120) << 23 | mantissa << 20);
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(float(mantissa) * 0x1p-9f));
}

namespace detail {

/// Of all codes: a look-up is faster than their bits.
inline constexpr std::array<float, 256> e4m3_values = [] {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) values[std::size_t(code)] = e4m3_value(std::uint8_t(code));
  return values;
}();

struct F8Code {
  static constexpr Refused refused[] = {{0, std::byte{0x7f}, "a weight of FP8 is NaN"},
                                        {0, std::byte{0xff}, "a weight of FP8 is NaN"}};
  static constexpr float largest = 448;
  static float value(std::byte code) { return e4m3_values[std::to_integer<std::size_t>(code)]; }
};
struct I8Code {
  static constexpr float largest = 128;
  static float value(std::byte code) { return float(std::to_integer<std::int8_t>(code)); }
};

/// The base of a tag whose scales belong to `outs` x `ins` weights each.
template <class Code, class ScaleScalar, int outs, int ins>
struct ScaledCodes : Code {
  using Scale = ScaleScalar;
  static constexpr std::size_t scale_plane = 1;
  static constexpr int block = 16;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[2] = {{"weight", 1, 1, 1}, {"scales", outs, ins, sizeof(Scale), true}};

  static void codes(const BlockCells& cells, std::uint8_t* to) { std::memcpy(to, cells.at[0], block); }
  static float scale_of(const BlockCells& cells) {
    Scale scale;
    std::memcpy(&scale, cells.at[scale_plane], sizeof scale);
    return to_float(scale);
  }
  /// One rounding, and none where the scale is a bf16 or a half.
  static void dequantise(const BlockCells& cells, float* to) {
    const float scale = scale_of(cells);
    for (int k = 0; k < block; ++k) to[k] = Code::value(cells.at[0][k]) * scale;
  }
};

}  // namespace detail

template <class Scale>
struct F8Rows : detail::ScaledCodes<detail::F8Code, Scale, 1, whole_line> {
  static constexpr std::string_view name =
      scaled_name<Scale>("FP8 in rows with F32 scales", "FP8 in rows with BF16 scales", "FP8 in rows with F16 scales");
};
template <class Scale>
struct F8Blocks : detail::ScaledCodes<detail::F8Code, Scale, 128, 128> {
  static constexpr std::string_view name = scaled_name<Scale>(
      "FP8 in blocks with F32 scales", "FP8 in blocks with BF16 scales", "FP8 in blocks with F16 scales");
};
template <class Scale>
struct I8Rows : detail::ScaledCodes<detail::I8Code, Scale, 1, whole_line> {
  static constexpr std::string_view name =
      scaled_name<Scale>("int8 with F32 scales", "int8 with BF16 scales", "int8 with F16 scales");
};

/// bitsandbytes.
struct LlmInt8 : detail::ScaledCodes<detail::I8Code, float, 1, whole_line> {
  static constexpr std::string_view name = "LLM.int8";
  static constexpr float factor = 0.007874015718698502f;  // 1 / 127

  /// In the order of bitsandbytes: two roundings.
  static void dequantise(const BlockCells& cells, float* to) {
    const float scale = scale_of(cells);
    for (int k = 0; k < block; ++k) to[k] = detail::I8Code::value(cells.at[0][k]) * scale * factor;
  }
};

}  // namespace ivl
