// Sixteen 32-bit words that move together: the codes of sixteen columns, before they are Lanes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// Each struct offers:
//   of(x)                          all words alike
//   load, load_halves, load_bytes(from)   16 words, or 16 half-words or bytes widened, at any address
//   store(to)                      at any address
//   >> << & |
//   where(mask, yes, no)           bit by bit
//   floats()                       the words, below 2^31, as floats
//   bits_of_floats()               the floats whose bits they are
//   byte(i)                        byte i of each word, below 128, and `base` as a float
//   any_byte(i)                    the same of any byte, and `any_base`

#if defined(IVL_AVX512)

struct Words {
  __m512i v;

  static Words of(std::uint32_t x) { return {_mm512_set1_epi32(int(x))}; }
  static Words load(const std::byte* from) { return {_mm512_loadu_si512(from)}; }
  static Words load_halves(const std::byte* from) {
    return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Words load_bytes(const std::byte* from) {
    return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
  }
  void store(std::byte* to) const { _mm512_storeu_si512(to, v); }
  friend Words operator>>(Words a, int bits) { return {_mm512_srli_epi32(a.v, unsigned(bits))}; }
  friend Words operator<<(Words a, int bits) { return {_mm512_slli_epi32(a.v, unsigned(bits))}; }
  friend Words operator&(Words a, Words b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend Words operator|(Words a, Words b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend Words where(Words mask, Words yes, Words no) { return {_mm512_ternarylogic_epi32(mask.v, yes.v, no.v, 0xca)}; }
  Lanes floats() const { return {_mm512_cvtepi32_ps(v)}; }
  Lanes bits_of_floats() const { return {_mm512_castsi512_ps(v)}; }
  static constexpr int base = 128, any_base = 32768;
  /// A byte put into the mantissa of 128: no conversion.
  Lanes byte(int i) const { return byte_within<2>(i, 0x43000000); }
  Lanes any_byte(int i) const { return byte_within<1>(i, 0x47000000); }

 private:
  /// Byte i in the place of byte `at` of a float.
  template <int at>
  Lanes byte_within(int i, int bits) const {
    const __m128i from = _mm_slli_epi32(_mm_add_epi32(_mm_set1_epi32(i), _mm_setr_epi32(0, 4, 8, 12)), 8 * at);
    return {_mm512_castsi512_ps(
        _mm512_mask_shuffle_epi8(_mm512_set1_epi32(bits), 0x1111111111111111u << at, v, _mm512_broadcast_i32x4(from)))};
  }
};

#elif defined(IVL_AVX2)

struct Words {
  __m256i low, high;

  static Words of(std::uint32_t x) { return {_mm256_set1_epi32(int(x)), _mm256_set1_epi32(int(x))}; }
  static Words load(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(registers), _mm256_loadu_si256(registers + 1)};
  }
  static Words load_halves(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m128i*>(from);
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(registers)), _mm256_cvtepu16_epi32(_mm_loadu_si128(registers + 1))};
  }
  static Words load_bytes(const std::byte* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
  }
  void store(std::byte* to) const {
    auto* registers = reinterpret_cast<__m256i*>(to);
    _mm256_storeu_si256(registers, low);
    _mm256_storeu_si256(registers + 1, high);
  }
  friend Words operator>>(Words a, int bits) {
    return {_mm256_srli_epi32(a.low, bits), _mm256_srli_epi32(a.high, bits)};
  }
  friend Words operator<<(Words a, int bits) {
    return {_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)};
  }
  friend Words operator&(Words a, Words b) {
    return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
  }
  friend Words operator|(Words a, Words b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
  friend Words where(Words mask, Words yes, Words no) {
    const auto eight = [](__m256i m, __m256i y, __m256i n) {
      return _mm256_or_si256(_mm256_and_si256(m, y), _mm256_andnot_si256(m, n));
    };
    return {eight(mask.low, yes.low, no.low), eight(mask.high, yes.high, no.high)};
  }
  Lanes floats() const { return {_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)}; }
  Lanes bits_of_floats() const { return {_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)}; }
  static constexpr int base = 0, any_base = 0;
  Lanes any_byte(int i) const { return byte(i); }
  Lanes byte(int i) const {
    const __m128i from = _mm_add_epi32(
        _mm_set1_epi32(i), _mm_setr_epi32(int(0x80808000u), int(0x80808004u), int(0x80808008u), int(0x8080800cu)));
    const __m256i both = _mm256_broadcastsi128_si256(from);
    return Words{_mm256_shuffle_epi8(low, both), _mm256_shuffle_epi8(high, both)}.floats();
  }
};

#else

struct Words {
  typedef std::uint32_t Quad __attribute__((vector_size(16)));
  Quad v[4];

  static Words of(std::uint32_t x) {
    const Quad quad = {x, x, x, x};
    return {{quad, quad, quad, quad}};
  }
  static Words load(const std::byte* from) {
    Words words;
    std::memcpy(words.v, from, sizeof words.v);
    return words;
  }
  static Words load_halves(const std::byte* from) {
    std::uint16_t halves[lanes];
    std::memcpy(halves, from, sizeof halves);
    Words words;
    for (int i = 0; i < lanes; ++i) words.v[i / 4][i % 4] = halves[i];
    return words;
  }
  static Words load_bytes(const std::byte* from) {
    Words words;
    for (int i = 0; i < lanes; ++i) words.v[i / 4][i % 4] = std::to_integer<std::uint32_t>(from[i]);
    return words;
  }
  void store(std::byte* to) const { std::memcpy(to, v, sizeof v); }
  friend Words operator>>(Words a, int bits) {
    for (Quad& quad : a.v) quad >>= bits;
    return a;
  }
  friend Words operator<<(Words a, int bits) {
    for (Quad& quad : a.v) quad <<= bits;
    return a;
  }
  friend Words operator&(Words a, Words b) {
    for (int i = 0; i < 4; ++i) a.v[i] &= b.v[i];
    return a;
  }
  friend Words operator|(Words a, Words b) {
    for (int i = 0; i < 4; ++i) a.v[i] |= b.v[i];
    return a;
  }
  friend Words where(Words mask, Words yes, Words no) {
    for (int i = 0; i < 4; ++i) no.v[i] = (mask.v[i] & yes.v[i]) | (~mask.v[i] & no.v[i]);
    return no;
  }
  Lanes floats() const {
    Lanes x;
    for (int i = 0; i < 4; ++i) x.v[i] = __builtin_convertvector(Lanes::Bits(v[i]), Lanes::Quad);
    return x;
  }
  Lanes bits_of_floats() const {
    Lanes x;
    std::memcpy(x.v, v, sizeof x.v);
    return x;
  }
  static constexpr int base = 0, any_base = 0;
  Lanes byte(int i) const { return ((*this >> 8 * i) & of(255)).floats(); }
  Lanes any_byte(int i) const { return byte(i); }
};

#endif

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
