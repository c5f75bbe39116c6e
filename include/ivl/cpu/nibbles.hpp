// Sixteen columns in four-bit codes, eight k of each in a line, and what the codes stand for by a table of sixteen
// values that bf16 holds exactly.
//
//   line   [16][2]  two bytes hold four codes of one column: bits 4i ... 4i + 3 are k = 2i in the first and k = 2i + 1
//                   in the second
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"

namespace ivl::cpu {

/// What codes without a sign stand for.
inline constexpr float unsigned_values[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

inline namespace IVL_CPU_LEVEL {
namespace detail {

/// k that a line of codes holds.
inline constexpr int codes_depth = 8;
inline constexpr int codes_bytes = codes_depth * panel_columns / 2;
/// Lines are also read from up to three bytes behind their begin on.
inline constexpr std::size_t codes_read_behind = line_bytes;

/// The low four bits of each byte of a word, in order, in its lower half.
constexpr std::uint32_t gather_nibbles(std::uint32_t word) {
  word &= 0x0f0f0f0fu;
  word = (word | word >> 4) & 0x00ff00ffu;
  return (word | word >> 8) & 0x0000ffffu;
}

/// The values as bf16.
template <const float (&values)[16], int Number>
struct alignas(64) ValueTable {
  std::uint16_t bits[Number];
  constexpr ValueTable() {
    for (int i = 0; i < Number; ++i) bits[i] = round_to<bf16>(values[i % 16]).bits;
  }
};

// `Codes` is a line. It offers:
//   load(from)             64-byte aligned
//   look_up(i, even, odd)  what k = 2i and 2i + 1 stand for, in each column; i < 4
//   pairs(i)               both as vdpbf16ps takes them

#if defined(IVL_AVX512)

template <const float (&values)[16]>
struct Codes {
  const std::byte* from;

  static Codes load(const std::byte* from) { return {from}; }
  /// Look-ups heed only the low four bits of a lane, so nothing is masked. Loads from odd addresses save shifts, and
  /// odd codes of a shifted register are looked up where the upper half of their float belongs: 19 instructions for 128
  /// products, where shifts alone take 23.
  void look_up(int i, Lanes& even, Lanes& odd) const {
    const __m512 table = _mm512_loadu_ps(values);
    const __m512i codes = load_at(i / 2);
    if (i % 2 == 0) {
      even.v = _mm512_permutexvar_ps(codes, table);
      odd.v = _mm512_permutexvar_ps(load_at(i / 2 + 2), table);
    } else {
      const __m512i shifted = _mm512_srli_epi32(codes, 4);
      even.v = _mm512_permutexvar_ps(shifted, table);
      odd.v = _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, shifted, words()));
    }
  }
#if defined(IVL_AVX512_BF16)
  __m512bh pairs(int i) const {
    const __m512i codes = load_at(i / 2);
    return (__m512bh)_mm512_permutexvar_epi16(i % 2 == 0 ? codes : _mm512_srli_epi32(codes, 4), words());
  }
#endif

 private:
  __m512i load_at(int byte) const { return _mm512_loadu_si512(from + byte); }
  static __m512i words() {
    static constexpr ValueTable<values, 32> table;
    return _mm512_load_si512(table.bits);
  }
};

#elif defined(IVL_AVX2)

/// Eight bits of each value as bf16, from bit `shift` on.
template <const float (&values)[16], int shift>
struct alignas(16) ValueBytes {
  std::uint8_t bytes[16];
  constexpr ValueBytes() {
    for (int i = 0; i < 16; ++i) bytes[i] = std::uint8_t(ValueTable<values, 16>().bits[i] >> shift);
  }
};

template <const float (&values)[16]>
struct Codes {
  __m256i low, high;

  static Codes load(const std::byte* from) {
    const auto* registers = reinterpret_cast<const __m256i*>(from);
    return {_mm256_load_si256(registers), _mm256_load_si256(registers + 1)};
  }
  void look_up(int i, Lanes& even, Lanes& odd) const {
    static constexpr ValueBytes<values, 0> lower;
    static constexpr ValueBytes<values, 8> upper;
    const auto eight = [i](__m256i codes, __m256& even_floats, __m256& odd_floats) {
      const auto load = [](const auto& bytes) {
        return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes.bytes)));
      };
      // A byte of each pair is a code. The other is zero: its value is, or its highest bit makes it.
      const __m256i index = _mm256_and_si256(_mm256_srli_epi32(codes, 4 * i), _mm256_set1_epi32(0x000f000f));
      const __m256i none = _mm256_set1_epi32(values[0] == 0 ? 0 : int(0x80008000u));
      const __m256i pairs = _mm256_or_si256(
          _mm256_shuffle_epi8(load(lower), _mm256_or_si256(index, none)),
          _mm256_shuffle_epi8(load(upper), _mm256_or_si256(_mm256_slli_epi32(index, 8), _mm256_srli_epi32(none, 8))));
      even_floats = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
      odd_floats = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(int(0xffff0000u))));
    };
    eight(low, even.low, odd.low);
    eight(high, even.high, odd.high);
  }
};

#else

template <const float (&values)[16]>
struct Codes {
  std::uint16_t words[2 * panel_columns];

  static Codes load(const std::byte* from) {
    Codes codes;
    std::memcpy(codes.words, from, sizeof codes.words);
    return codes;
  }
  void look_up(int i, Lanes& even, Lanes& odd) const {
    float both[2][lanes];
    for (int c = 0; c < lanes; ++c) {
      both[0][c] = values[words[2 * c] >> 4 * i & 15];
      both[1][c] = values[words[2 * c + 1] >> 4 * i & 15];
    }
    even = Lanes::load(both[0]);
    odd = Lanes::load(both[1]);
  }
};

#endif

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
