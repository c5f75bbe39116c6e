// Sums of products of bytes, of sixteen columns: four weights of a column, without a sign, with four codes of a row.
// Whole numbers: the same at every level, and in any order.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ByteFours    a line [16][4] of weights         load(from), 64-byte aligned
// RowFour      four codes of a row, everywhere   load(from)
// IntSums      of(x); plus(weights, codes); floats(), exact below 2^24
//
// VNNI has one instruction for it. Without, bytes are widened to pairs of 16 bits, which pmaddwd multiplies and adds in
// 32 bits: pmaddubsw would add two products of bytes in 16 bits, which 255 * 127 * 2 leaves.

#if defined(IVL_AVX512)

#if defined(__AVX512VNNI__)
struct ByteFours {
  __m512i v;
  static ByteFours load(const std::byte* from) { return {_mm512_load_si512(from)}; }
};
struct RowFour {
  __m512i v;
  static RowFour load(const std::int8_t* from) {
    std::int32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    return {_mm512_set1_epi32(bits)};
  }
};
#else
struct ByteFours {
  __m512i even, odd;
  static ByteFours load(const std::byte* from) {
    const __m512i v = _mm512_load_si512(from);
    return {_mm512_and_si512(v, _mm512_set1_epi16(255)), _mm512_srli_epi16(v, 8)};
  }
};
struct RowFour {
  __m512i even, odd;
  static RowFour load(const std::int8_t* from) {
    std::int32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    const __m512i v = _mm512_set1_epi32(bits);
    return {_mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), _mm512_srai_epi16(v, 8)};
  }
};
#endif
struct IntSums {
  // Not __m512i, whose elements are of 64 bits: g++ 12 keeps sums that change their type in memory.
  typedef std::int32_t Ints __attribute__((vector_size(64)));
  Ints v;
  static IntSums of(std::int32_t x) { return {(Ints)_mm512_set1_epi32(x)}; }
  IntSums plus(ByteFours w, RowFour x) const {
#if defined(__AVX512VNNI__)
    return {(Ints)_mm512_dpbusd_epi32((__m512i)v, w.v, x.v)};
#else
    return {v + (Ints)_mm512_madd_epi16(w.even, x.even) + (Ints)_mm512_madd_epi16(w.odd, x.odd)};
#endif
  }
  Lanes floats() const { return {_mm512_cvtepi32_ps((__m512i)v)}; }
};

#elif defined(IVL_AVX2)

#if defined(__AVXVNNI__)
struct ByteFours {
  __m256i low, high;
  static ByteFours load(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m256i*>(from);
    return {_mm256_load_si256(registers), _mm256_load_si256(registers + 1)};
  }
};
struct RowFour {
  __m256i v;
  static RowFour load(const std::int8_t* from) {
    std::int32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    return {_mm256_set1_epi32(bits)};
  }
};
#else
struct ByteFours {
  __m256i low_even, low_odd, high_even, high_odd;
  static ByteFours load(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m256i*>(from);
    const __m256i low = _mm256_load_si256(registers), high = _mm256_load_si256(registers + 1);
    const __m256i byte = _mm256_set1_epi16(255);
    return {_mm256_and_si256(low, byte), _mm256_srli_epi16(low, 8), _mm256_and_si256(high, byte),
            _mm256_srli_epi16(high, 8)};
  }
};
struct RowFour {
  __m256i even, odd;
  static RowFour load(const std::int8_t* from) {
    std::int32_t bits;
    std::memcpy(&bits, from, sizeof bits);
    const __m256i v = _mm256_set1_epi32(bits);
    return {_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), _mm256_srai_epi16(v, 8)};
  }
};
#endif
struct IntSums {
  typedef std::int32_t Ints __attribute__((vector_size(32)));
  Ints low, high;
  static IntSums of(std::int32_t x) { return {(Ints)_mm256_set1_epi32(x), (Ints)_mm256_set1_epi32(x)}; }
  IntSums plus(ByteFours w, RowFour x) const {
#if defined(__AVXVNNI__)
    return {(Ints)_mm256_dpbusd_avx_epi32((__m256i)low, w.low, x.v),
            (Ints)_mm256_dpbusd_avx_epi32((__m256i)high, w.high, x.v)};
#else
    const auto eight = [&](__m256i even, __m256i odd) {
      return (Ints)_mm256_madd_epi16(even, x.even) + (Ints)_mm256_madd_epi16(odd, x.odd);
    };
    return {low + eight(w.low_even, w.low_odd), high + eight(w.high_even, w.high_odd)};
#endif
  }
  Lanes floats() const { return {_mm256_cvtepi32_ps((__m256i)low), _mm256_cvtepi32_ps((__m256i)high)}; }
};

#else

struct ByteFours {
  const std::byte* v;
  static ByteFours load(const std::byte* from) { return {from}; }
};
struct RowFour {
  const std::int8_t* v;
  static RowFour load(const std::int8_t* from) { return {from}; }
};
struct IntSums {
  std::int32_t v[lanes];
  static IntSums of(std::int32_t x) {
    IntSums sums;
    for (std::int32_t& sum : sums.v) sum = x;
    return sums;
  }
  IntSums plus(ByteFours w, RowFour x) const {
    IntSums sums = *this;
    for (int c = 0; c < lanes; ++c) {
      for (int i = 0; i < 4; ++i) sums.v[c] += std::to_integer<std::int32_t>(w.v[4 * c + i]) * x.v[i];
    }
    return sums;
  }
  Lanes floats() const {
    float wide[lanes];
    for (int c = 0; c < lanes; ++c) wide[c] = float(v[c]);
    return Lanes::load(wide);
  }
};

#endif

/// a b + c, rounded once at the portable level too.
inline Lanes fma_once(Lanes a, Lanes b, Lanes c) {
#if defined(IVL_AVX512) || defined(IVL_AVX2)
  return fma(a, b, c);
#else
  float x[lanes], y[lanes], z[lanes];
  a.store(x);
  b.store(y);
  c.store(z);
  for (int i = 0; i < lanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return Lanes::load(z);
#endif
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
