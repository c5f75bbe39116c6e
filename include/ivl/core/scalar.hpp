// Storage scalars and their exact conversions. Arithmetic is always done in float.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ivl {

/// bfloat16: the upper half of an IEEE float.
struct bf16 {
  std::uint16_t bits;
};

/// IEEE half precision.
struct half {
  std::uint16_t bits;
};

/// What a file or a buffer stores, by its safetensors name where there is one.
enum class ScalarKind : std::uint8_t { f32, bf16, f16 };

constexpr int bytes_of(ScalarKind kind) { return kind == ScalarKind::f32 ? 4 : 2; }

constexpr std::string_view name_of(ScalarKind kind) {
  switch (kind) {
    case ScalarKind::f32:
      return "F32";
    case ScalarKind::bf16:
      return "BF16";
    case ScalarKind::f16:
      return "F16";
  }
  return "?";
}

template <class Scalar>
inline constexpr ScalarKind kind_of = [] { static_assert(sizeof(Scalar) == 0, "kind_of: not a storage scalar"); }();
template <>
inline constexpr ScalarKind kind_of<float> = ScalarKind::f32;
template <>
inline constexpr ScalarKind kind_of<bf16> = ScalarKind::bf16;
template <>
inline constexpr ScalarKind kind_of<half> = ScalarKind::f16;

constexpr float to_float(float x) { return x; }
constexpr float to_float(bf16 x) { return std::bit_cast<float>(std::uint32_t(x.bits) << 16); }

constexpr float to_float(half x) {
  const std::uint32_t sign = std::uint32_t(x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u,
                      mantissa = x.bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float subnormal = float(mantissa) * 0x1p-24f;  // exact
  return sign ? -subnormal : subnormal;
}

/// Rounds to nearest, ties to even; every NaN becomes 0x7fff, as on CUDA.
template <class Scalar>
constexpr Scalar round_to(float x);

template <>
constexpr float round_to<float>(float x) {
  return x;
}

template <>
constexpr bf16 round_to<bf16>(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

template <>
constexpr half round_to<half>(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u) return {std::uint16_t(sign | 0x7c00u)};  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                                         // below 2^-14: a multiple of 2^-24
    // Adding 0.5 leaves the wanted multiple of 2^-24 in the low mantissa bits, rounded to even by the addition itself.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {std::uint16_t(sign | (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5f)))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - (112u << 23);
  return {std::uint16_t(sign | rounded >> 13)};
}

}  // namespace ivl
