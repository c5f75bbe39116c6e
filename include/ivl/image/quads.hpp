// Sums of bytes times 22-bit weights, four neighbouring bytes (a quad) at a time.
//
// Both passes of a resize lay their source out so that the four bytes which one output pixel weighs together are
// adjacent, and the outputs of neighbouring lanes follow: [lanes][4] bytes. One instruction set is one struct:
//
//   lanes                    outputs of one Sum
//   Weights, pack(q)         four 22-bit weights, split so that byte or 16-bit products hold them
//   Sum, one_half()          running totals; starts at 2^21, so that the final shift rounds
//   add(sum, quads, w)       sum[lane] += quads[lane][0..3] . w
//   store_rows(s, out)       4 sums -> bytes, 4 * lanes of them, in order: the vertical pass
//   store_quads(s, out, d)   4 sums -> quads of four lanes; those of lane quad k go to out + k * d: the horizontal pass
//   gather(rows, ...)        four pixels of each of `lanes` rows -> quads of one colour
//
// All give the same bytes: see resize.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/simd.hpp"

namespace ivl::detail {
inline namespace IVL_CPU_LEVEL {

inline constexpr int weight_bits = 22;

/// Four pixels of `lanes` rows: rows[lane][12 * group ...] (RGBRGBRGBRGB) -> out[colour][lane][4].
template <int Lanes>
inline void gather_quads(const std::uint8_t* const* rows, std::ptrdiff_t at, std::uint8_t* out) {
  for (int colour = 0; colour < 3; ++colour) {
    for (int lane = 0; lane < Lanes; ++lane) {
      for (int i = 0; i < 4; ++i) out[(colour * Lanes + lane) * 4 + i] = rows[lane][at + 3 * i + colour];
    }
  }
}

// ---- plain C++ -----------------------------------------------------------------------------------------------------

struct PlainQuads {
  static constexpr int lanes = 16;
  using Weights = std::array<std::int32_t, 4>;
  using Sum = std::array<std::int32_t, lanes>;

  static Weights pack(const std::int32_t* q) { return {q[0], q[1], q[2], q[3]}; }
  static Sum one_half() {
    Sum sum;
    sum.fill(1 << (weight_bits - 1));
    return sum;
  }
  static void add(Sum& sum, const std::uint8_t* quads, const Weights& w) {
    for (int lane = 0; lane < lanes; ++lane) {
      const std::uint8_t* p = quads + 4 * lane;
      sum[std::size_t(lane)] += p[0] * w[0] + p[1] * w[1] + p[2] * w[2] + p[3] * w[3];
    }
  }
  static std::uint8_t byte(std::int32_t sum) { return std::uint8_t(std::clamp(sum >> weight_bits, 0, 255)); }
  static void store_rows(const Sum (&s)[4], std::uint8_t* out) {
    for (const Sum& sum : s) {
      for (const std::int32_t lane : sum) *out++ = byte(lane);
    }
  }
  static void store_quads(const Sum (&s)[4], std::uint8_t* out, std::ptrdiff_t distance) {
    for (int lane = 0; lane < lanes; ++lane) {
      for (int i = 0; i < 4; ++i) out[lane / 4 * distance + 4 * i + lane % 4] = byte(s[i][std::size_t(lane)]);
    }
  }
  static void gather(const std::uint8_t* const* rows, std::ptrdiff_t at, std::uint8_t* out) {
    gather_quads<lanes>(rows, at, out);
  }
};

#if defined(__AVX2__)
/// RGBRGBRGBRGB of four rows -> three times [4 rows][4], `colour_distance` bytes apart. Reads 16 bytes of each row.
inline void gather_four_rows(const std::uint8_t* const* rows, std::ptrdiff_t at, std::uint8_t* out,
                             int colour_distance) {
  const __m128i by_colour = _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
  __m128i v[4];
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + at)), by_colour);
  }
  const __m128i red_green01 = _mm_unpacklo_epi32(v[0], v[1]), red_green23 = _mm_unpacklo_epi32(v[2], v[3]);
  const __m128i blue01 = _mm_unpackhi_epi32(v[0], v[1]), blue23 = _mm_unpackhi_epi32(v[2], v[3]);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi64(red_green01, red_green23));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + colour_distance), _mm_unpackhi_epi64(red_green01, red_green23));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * colour_distance), _mm_unpacklo_epi64(blue01, blue23));
}

// ---- AVX2 ----------------------------------------------------------------------------------------------------------

/// A weight is high * 2^15 + low, -2^14 <= low < 2^14, |high| <= 2^7: both fit the 16-bit products of vpmaddwd, which
/// adds two. Bytes 0 and 2 of a quad are masked out, bytes 1 and 3 shifted down.
struct Avx2Quads {
  static constexpr int lanes = 8;
  struct Weights {
    std::int32_t high_even, low_even, high_odd, low_odd;
  };
  struct Sum {
    __m256i high, low;
  };

  static Weights pack(const std::int32_t* q) {
    const auto high = [&](int i) { return (q[i] + (1 << 14)) >> 15; };
    const auto low = [&](int i) { return q[i] - high(i) * (1 << 15); };
    const auto pair = [](std::int32_t a, std::int32_t b) {
      return std::int32_t(std::uint32_t(a & 0xffff) | std::uint32_t(b) << 16);
    };
    return {pair(high(0), high(2)), pair(low(0), low(2)), pair(high(1), high(3)), pair(low(1), low(3))};
  }
  static Sum one_half() { return {_mm256_setzero_si256(), _mm256_set1_epi32(1 << (weight_bits - 1))}; }
  static void add(Sum& sum, const std::uint8_t* quads, const Weights& w) {
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quads));
    const __m256i even = _mm256_and_si256(all, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(all, 8);
    const auto dot = [](__m256i pixels, std::int32_t weights) {
      return _mm256_madd_epi16(pixels, _mm256_set1_epi32(weights));
    };
    sum.high = _mm256_add_epi32(sum.high, _mm256_add_epi32(dot(even, w.high_even), dot(odd, w.high_odd)));
    sum.low = _mm256_add_epi32(sum.low, _mm256_add_epi32(dot(even, w.low_even), dot(odd, w.low_odd)));
  }
  /// Four sums -> [2 lane quads][4 sums][4 lanes] bytes.
  static __m256i bytes(const Sum (&s)[4]) {
    const auto level = [](const Sum& sum) {
      return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(sum.high, 15), sum.low), weight_bits);
    };
    // Levels lie in [-512, 511], so the first packing changes none and the second clamps.
    return _mm256_packus_epi16(_mm256_packs_epi32(level(s[0]), level(s[1])),
                               _mm256_packs_epi32(level(s[2]), level(s[3])));
  }
  static void store_rows(const Sum (&s)[4], std::uint8_t* out) {
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(bytes(s), in_order));
  }
  static void store_quads(const Sum (&s)[4], std::uint8_t* out, std::ptrdiff_t distance) {
    const __m256i all = bytes(s);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(all));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + distance), _mm256_extracti128_si256(all, 1));
  }
  static void gather(const std::uint8_t* const* rows, std::ptrdiff_t at, std::uint8_t* out) {
    for (int row = 0; row < lanes; row += 4) gather_four_rows(rows + row, at, out + 4 * row, 4 * lanes);
  }
};
#endif

// ---- AVX-512 with VNNI ---------------------------------------------------------------------------------------------

#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
/// A weight is high * 2^16 + middle * 2^8 + low, each a signed byte (|weight| <= 2^22, so |high| <= 2^6 + 1): vpdpbusd
/// multiplies four bytes by four such parts and adds the sum to 32 bits, wrapping.
struct VnniQuads {
  static constexpr int lanes = 16;
  struct Weights {
    std::int32_t high, middle, low;
  };
  struct Sum {
    __m512i high, middle, low;
  };

  static Weights pack(const std::int32_t* q) {
    std::uint32_t high = 0, middle = 0, low = 0;
    for (int i = 0; i < 4; ++i) {
      const std::int32_t upper = (q[i] + 128) >> 8;  // q = upper * 2^8 + low
      const std::int32_t top = (upper + 128) >> 8;   // upper = top * 2^8 + middle
      low |= (std::uint32_t(q[i]) & 255u) << 8 * i;
      middle |= (std::uint32_t(upper) & 255u) << 8 * i;
      high |= (std::uint32_t(top) & 255u) << 8 * i;
    }
    return {std::int32_t(high), std::int32_t(middle), std::int32_t(low)};
  }
  static Sum one_half() {
    return {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_set1_epi32(1 << (weight_bits - 1))};
  }
  static void add(Sum& sum, const std::uint8_t* quads, const Weights& w) {
    const __m512i pixels = _mm512_loadu_si512(quads);
    sum.high = _mm512_dpbusd_epi32(sum.high, pixels, _mm512_set1_epi32(w.high));
    sum.middle = _mm512_dpbusd_epi32(sum.middle, pixels, _mm512_set1_epi32(w.middle));
    sum.low = _mm512_dpbusd_epi32(sum.low, pixels, _mm512_set1_epi32(w.low));
  }
  /// Four sums -> [4 lane quads][4 sums][4 lanes] bytes.
  static __m512i bytes(const Sum (&s)[4]) {
    const auto level = [](const Sum& sum) {
      const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(sum.high, 8), sum.middle);
      return _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(upper, 8), sum.low), weight_bits);
    };
    // Levels lie in [-512, 511], so the first packing changes none and the second clamps.
    return _mm512_packus_epi16(_mm512_packs_epi32(level(s[0]), level(s[1])),
                               _mm512_packs_epi32(level(s[2]), level(s[3])));
  }
  static void store_rows(const Sum (&s)[4], std::uint8_t* out) {
    const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(in_order, bytes(s)));
  }
  static void store_quads(const Sum (&s)[4], std::uint8_t* out, std::ptrdiff_t distance) {
    const __m512i all = bytes(s);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(all));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + distance), _mm512_extracti32x4_epi32(all, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * distance), _mm512_extracti32x4_epi32(all, 2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * distance), _mm512_extracti32x4_epi32(all, 3));
  }
  static void gather(const std::uint8_t* const* rows, std::ptrdiff_t at, std::uint8_t* out) {
    for (int row = 0; row < lanes; row += 4) gather_four_rows(rows + row, at, out + 4 * row, 4 * lanes);
  }
};
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::detail
