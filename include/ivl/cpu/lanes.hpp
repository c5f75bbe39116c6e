// Sixteen floats that move together: one AVX-512 register, two AVX2 registers, or four of anything else.
// The same steps in the same order at every level; only fused multiply-add differs (two roundings at the portable
// level).
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// How many floats move together.
inline constexpr int lanes = 16;

// Each struct offers:
//   zero, of(x)                     all lanes alike
//   load(from), store(to)           16 scalars (or bytes, with or without a sign) at any address; a store rounds to
//                                   nearest even
//   load_even, load_odd(pairs)      the first or second scalars of 16 pairs
//   + - * /, fma(a, b, c) = a b + c, abs
//   min, max                        b where either is NaN
//   where_less(a, b, yes, no)       a < b ? yes : no
//   take_first(number, a, b)        the first lanes of a, then those of b
//   scale_by_power(a, shifted)      a 2^n, where the low bits of `shifted` are n; neither a nor the result subnormal
//   sum, largest                    over the lanes, as a tree: i with i + 8, then i + 4, i + 2, i + 1

#if defined(IVL_AVX512)

struct Lanes {
  __m512 v;

  static Lanes zero() { return {_mm512_setzero_ps()}; }
  static Lanes of(float x) { return {_mm512_set1_ps(x)}; }
  static Lanes load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static Lanes load(const bf16* from) {
    const __m256i upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16))};
  }
  static Lanes load(const half* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Lanes load(const std::int8_t* from) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))))};
  }
  static Lanes load(const std::uint8_t* from) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))))};
  }
  static Lanes load_even(const bf16* pairs) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16))};
  }
  static Lanes load_odd(const bf16* pairs) {
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs), _mm512_set1_epi32(int(0xffff0000u))))};
  }
  void store(float* to) const { _mm512_storeu_ps(to, v); }
  void store(bf16* to) const {
    // Not vcvtneps2bf16: that one takes subnormals as zero.
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i nearest =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff)), 16);
    const __m512i rounded = _mm512_mask_set1_epi32(nearest, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), 0x7fff);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(rounded));
  }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend Lanes abs(Lanes a) { return {_mm512_abs_ps(a.v)}; }
  friend Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  friend Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend Lanes where_less(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
  }
  friend Lanes take_first(int number, Lanes a, Lanes b) {
    return {_mm512_mask_blend_ps(__mmask16((1u << number) - 1), b.v, a.v)};
  }
  friend Lanes scale_by_power(Lanes a, Lanes shifted) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), n))};
  }
  friend float sum(Lanes a) { return _mm512_reduce_add_ps(a.v); }
  friend float largest(Lanes a) { return _mm512_reduce_max_ps(a.v); }
};

#elif defined(IVL_AVX2)

struct Lanes {
  __m256 low, high;

  static Lanes zero() { return of(0); }
  static Lanes of(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Lanes load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static Lanes load(const bf16* from) {
    const auto eight = [](const bf16* p) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half_register(p)), 16));
    };
    return {eight(from), eight(from + 8)};
  }
  static Lanes load(const half* from) {
    return {_mm256_cvtph_ps(half_register(from)), _mm256_cvtph_ps(half_register(from + 8))};
  }
  static Lanes load(const std::int8_t* from) {
    const auto eight = [](const std::int8_t* p) {
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    };
    return {eight(from), eight(from + 8)};
  }
  static Lanes load(const std::uint8_t* from) {
    const auto eight = [](const std::uint8_t* p) {
      return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    };
    return {eight(from), eight(from + 8)};
  }
  static Lanes load_even(const bf16* pairs) {
    const auto eight = [](const bf16* p) { return _mm256_castsi256_ps(_mm256_slli_epi32(whole_register(p), 16)); };
    return {eight(pairs), eight(pairs + 16)};
  }
  static Lanes load_odd(const bf16* pairs) {
    const auto eight = [](const bf16* p) {
      return _mm256_castsi256_ps(_mm256_and_si256(whole_register(p), _mm256_set1_epi32(int(0xffff0000u))));
    };
    return {eight(pairs), eight(pairs + 16)};
  }
  void store(float* to) const {
    _mm256_storeu_ps(to, low);
    _mm256_storeu_ps(to + 8, high);
  }
  void store(bf16* to) const {
    const auto rounded = [](__m256 x) {
      const __m256i bits = _mm256_castps_si256(x);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
      const __m256i nearest =
          _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff)), 16);
      const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
      return _mm256_blendv_epi8(nearest, _mm256_set1_epi32(0x7fff), nan);
    };
    const __m256i mixed = _mm256_packus_epi32(rounded(low), rounded(high));  // 0-3, 8-11, 4-7, 12-15
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(mixed, 0b11'01'10'00));
  }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  friend Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  friend Lanes fma(Lanes a, Lanes b, Lanes c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  friend Lanes abs(Lanes a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
  }
  friend Lanes min(Lanes a, Lanes b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  friend Lanes max(Lanes a, Lanes b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  friend Lanes where_less(Lanes a, Lanes b, Lanes yes, Lanes no) {
    return {_mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
            _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
  }
  friend Lanes take_first(int number, Lanes a, Lanes b) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32(number), lane);
    const __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32(number - 8), lane);
    return {_mm256_blendv_ps(b.low, a.low, _mm256_castsi256_ps(low)),
            _mm256_blendv_ps(b.high, a.high, _mm256_castsi256_ps(high))};
  }
  friend Lanes scale_by_power(Lanes a, Lanes shifted) {
    const auto eight = [](__m256 x, __m256 n) {
      return _mm256_castsi256_ps(
          _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_castps_si256(n), 23)));
    };
    return {eight(a.low, shifted.low), eight(a.high, shifted.high)};
  }
  friend float sum(Lanes a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
  friend float largest(Lanes a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }

 private:
  static __m128i half_register(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
  static __m256i whole_register(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
};

#else

struct Lanes {
  // The compilers' own vectors, four lanes each: arrays of sixteen floats do not stay in registers.
  typedef float Quad __attribute__((vector_size(16)));
  typedef std::int32_t Bits __attribute__((vector_size(16)));
  Quad v[4];

  static Lanes zero() { return of(0); }
  static Lanes of(float x) {
    const Quad quad = {x, x, x, x};
    return {{quad, quad, quad, quad}};
  }
  static Lanes load(const float* from) {
    Lanes x;
    std::memcpy(x.v, from, sizeof x.v);
    return x;
  }
  template <class Scalar>
  static Lanes load(const Scalar* from) {
    float wide[lanes];
    for (int i = 0; i < lanes; ++i) wide[i] = to_float(from[i]);
    return load(wide);
  }
  static Lanes load_even(const bf16* pairs) {
    Lanes x;
    std::memcpy(x.v, pairs, sizeof x.v);
    for (Quad& quad : x.v) quad = Quad(Bits(quad) << 16);
    return x;
  }
  static Lanes load_odd(const bf16* pairs) {
    Lanes x;
    std::memcpy(x.v, pairs, sizeof x.v);
    for (Quad& quad : x.v) quad = Quad(Bits(quad) & std::int32_t(0xffff0000u));
    return x;
  }
  template <class Scalar>
  void store(Scalar* to) const {
    float wide[lanes];
    std::memcpy(wide, v, sizeof v);
    for (int i = 0; i < lanes; ++i) to[i] = round_to<Scalar>(wide[i]);
  }

  friend Lanes operator+(Lanes a, Lanes b) {
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
  }
  friend Lanes operator-(Lanes a, Lanes b) {
    return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
  }
  friend Lanes operator*(Lanes a, Lanes b) {
    return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
  }
  friend Lanes operator/(Lanes a, Lanes b) {
    return {{a.v[0] / b.v[0], a.v[1] / b.v[1], a.v[2] / b.v[2], a.v[3] / b.v[3]}};
  }
  friend Lanes fma(Lanes a, Lanes b, Lanes c) { return a * b + c; }
  friend Lanes abs(Lanes a) {
    for (Quad& quad : a.v) quad = Quad(Bits(quad) & 0x7fffffff);
    return a;
  }
  friend Lanes min(Lanes a, Lanes b) { return where_less(a, b, a, b); }
  friend Lanes max(Lanes a, Lanes b) { return where_less(b, a, a, b); }
  friend Lanes where_less(Lanes a, Lanes b, Lanes yes, Lanes no) {
    for (int i = 0; i < 4; ++i) yes.v[i] = a.v[i] < b.v[i] ? yes.v[i] : no.v[i];
    return yes;
  }
  friend Lanes take_first(int number, Lanes a, Lanes b) {
    for (int i = 0; i < number; ++i) b.v[i / 4][i % 4] = a.v[i / 4][i % 4];
    return b;
  }
  friend Lanes scale_by_power(Lanes a, Lanes shifted) {
    for (int i = 0; i < 4; ++i) a.v[i] = Quad(Bits(a.v[i]) + (Bits(shifted.v[i]) << 23));
    return a;
  }
  friend float sum(Lanes a) {
    const Quad four = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
    return (four[0] + four[2]) + (four[1] + four[3]);
  }
  friend float largest(Lanes a) {
    float x = a.v[0][0];
    for (int i = 1; i < lanes; ++i) x = a.v[i / 4][i % 4] > x ? a.v[i / 4][i % 4] : x;
    return x;
  }
};

#endif

/// The first `number` <= 16 scalars, then zeros; reads no further.
template <class Scalar>
Lanes load_first(const Scalar* from, std::int64_t number) {
  Scalar all[lanes] = {};
  std::memcpy(all, from, std::size_t(number) * sizeof(Scalar));
  return Lanes::load(all);
}

/// Writes the first `number` <= 16 lanes and nothing beyond.
template <class Scalar>
void store_first(Lanes x, Scalar* to, std::int64_t number) {
  Scalar all[lanes];
  x.store(all);
  std::memcpy(to, all, std::size_t(number) * sizeof(Scalar));
}

/// a b minus the product as it was rounded: what the rounding lost.
inline Lanes product_error(Lanes a, Lanes b) {
#if defined(IVL_AVX512) || defined(IVL_AVX2)
  return fma(a, b, Lanes::zero() - a * b);
#else
  // Dekker: halves of 12 bits, whose products are exact.
  const auto upper = [](Lanes x) {
    const Lanes shifted = x * Lanes::of(4097);
    return shifted - (shifted - x);
  };
  const Lanes a_upper = upper(a), b_upper = upper(b), a_lower = a - a_upper, b_lower = b - b_upper;
  return (a_upper * b_upper - a * b) + a_upper * b_lower + a_lower * b_upper + a_lower * b_lower;
#endif
}

namespace detail {
/// Adding it to a small x rounds x to a whole number n, which then stands in the low bits of the sum.
inline constexpr float rounding_shift = 0x1.8p23f;
}  // namespace detail

/// 2^x for x <= 126, within 2 units in the last place; below 2^-126 it stays there. A NaN stays one.
inline Lanes exp2(Lanes x) {
  const Lanes shift = Lanes::of(detail::rounding_shift);
  x = max(Lanes::of(-126), x);
  const Lanes shifted = x + shift;
  const Lanes f = x - (shifted - shift);
  // Cephes' exp2f: 2^f on [-1/2, 1/2].
  Lanes y = fma(Lanes::of(1.535336188319500e-4f), f, Lanes::of(1.339887440266574e-3f));
  y = fma(y, f, Lanes::of(9.618437357674640e-3f));
  y = fma(y, f, Lanes::of(5.550332471162809e-2f));
  y = fma(y, f, Lanes::of(2.402264791363012e-1f));
  y = fma(y, f, Lanes::of(6.931472028550421e-1f));
  y = fma(y, f, Lanes::of(1));
  return scale_by_power(y, shifted);
}

/// e^x within 2 units in the last place; 0 below -87.33 (the smallest normal float), from 88.37 on 2^127.5. A NaN stays
/// one.
inline Lanes exp(Lanes x) {
  const Lanes shift = Lanes::of(detail::rounding_shift), lowest = Lanes::of(-87.33f);
  const Lanes clamped = min(Lanes::of(88.376f), max(lowest, x));
  const Lanes shifted = fma(clamped, Lanes::of(1.44269504f), shift), n = shifted - shift;
  // ln 2 in two parts: n times the first is exact.
  const Lanes r = fma(n, Lanes::of(2.12194440e-4f), fma(n, Lanes::of(-0.693359375f), clamped));
  // Cephes' expf: e^r = 1 + r + r^2 p(r) on |r| <= ln 2 / 2.
  Lanes p = fma(Lanes::of(1.9875691500e-4f), r, Lanes::of(1.3981999507e-3f));
  p = fma(p, r, Lanes::of(8.3334519073e-3f));
  p = fma(p, r, Lanes::of(4.1665795894e-2f));
  p = fma(p, r, Lanes::of(1.6666665459e-1f));
  p = fma(p, r, Lanes::of(5.0000001201e-1f));
  const Lanes y = fma(p, r * r, r) + Lanes::of(1);
  return where_less(x, lowest, Lanes::zero(), scale_by_power(y, shifted));
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
