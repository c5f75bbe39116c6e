// Codes of two to eight bits of sixteen columns, a chunk at a time.
//
//   four bits    8 k      a line as nibbles.hpp has them
//   two bits    16 k      a line [16] u32: bits 2j of byte b are k = 4j + b
//   three bits  16 k      a line [16] u32: bits 3k ... 3k + 2 are k < 10; then half a line [16] u16: the same of
//                         k = 10 + ...; the last bits of the line and that of the half are k = 15
//   five bits   32 k      five lines [16] u32: the low bits of byte b of line l are k = 4l + b; the three above them in
//                         lines 0 and 2 are the low bits of k = 20 + b and 24 + b, two in lines 1 and 3 their high
//                         bits; those of line 4 and the last bits of lines 1 and 3 are k = 28 + b
//   six bits    16 k      three lines [16] u32: the low bits of byte b of line l are k = 4l + b; the two above them in
//                         lines 0, 1 and 2 are k = 12 + b, low ones first
//   eight bits  16 k      four lines [16] u32: byte b of line l is k = 4l + b
//   FP8          8 k      eight times [16] bytes
//
// Bytes and AVX-512 instructions for 128 products of one row, beside loads and scales; 16 of them are multiply-adds:
//
//   four bits  64, 26    two 32, 26    three 48, 32    five 80, 29    six 96, 29    eight 128, 24    FP8 128, 56
//
// A kind of chunks offers:
//   depth, bytes           of one
//   words                  k that `look_up` gives at once
//   read_behind            bytes that loads may touch behind the last one
//   put(codes, column, to) depth codes of one column, whose other bits are zero
//   load(from)             and of its word i: look_up(i, values)
//   base                   what the code 0 stands for
//   fours(from, i)         where codes are numbers: those of k = 4i ... 4i + 3 as the bytes of a word
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/words.hpp"
#include "ivl/formats/scaled_codes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// The same byte four times.
constexpr std::uint32_t four_times(int byte) { return std::uint32_t(byte) * 0x01010101u; }

/// Four bits that stand for values of a table.
template <const float (&values)[16]>
struct NibbleChunk {
  static constexpr int depth = codes_depth, bytes = codes_bytes, words = 2;
  static constexpr std::size_t read_behind = codes_read_behind;
  Codes<values> codes;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    std::uint32_t word = 0;
    for (int k = 0; k < depth; ++k) word |= std::uint32_t(codes[k]) << (k % 2 * 16 + k / 2 * 4);
    std::memcpy(to + column * sizeof word, &word, sizeof word);
  }
  static NibbleChunk load(const std::byte* from) { return {Codes<values>::load(from)}; }
  void look_up(int i, Lanes (&w)[2]) const { codes.look_up(i, w[0], w[1]); }

  static constexpr int base = 0;
  static Words fours(const std::byte* from, int i)
    requires std::is_same_v<Codes<values>, Codes<unsigned_values>>  // under UBSan addresses are no constants
  {
#if defined(IVL_AVX512)
    // Bytes i and 2 + i of a word hold k = 4i, 4i + 2 and 4i + 1, 4i + 3: both twice, the second time shifted.
    const __m512i twice = _mm512_shuffle_epi8(
        Words::load(from).v,
        _mm512_broadcast_i32x4(_mm_setr_epi32(0x02000200 + 0x01010101 * i, 0x06040604 + 0x01010101 * i,
                                              0x0a080a08 + 0x01010101 * i, 0x0e0c0e0c + 0x01010101 * i)));
    return Words{_mm512_srlv_epi16(twice, _mm512_set1_epi32(4 << 16))} & Words::of(four_times(15));
#else
    // From the low half of a word k = 0 and 2, from the high one 1 and 3.
    const Words codes = Words::load(from) >> 8 * i;
    const auto at = [](int byte) { return Words::of(15u << 8 * byte); };
    return where(at(0), codes, where(at(1), codes >> 8, where(at(2), codes << 12, codes << 4))) &
           Words::of(four_times(15));
#endif
  }
};

/// What the codes of three bits of Q3_K stand for.
inline constexpr float values_of_bits[8] = {0, 1, 2, 3, 4, 5, 6, 7};

/// Two bits.
struct TwoBitChunk {
  static constexpr int depth = 16, words = 4, bytes = int(line_bytes);
  static constexpr std::size_t read_behind = line_bytes;
  const std::byte* from;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    std::uint32_t word = 0;
    for (int k = 0; k < depth; ++k) word |= std::uint32_t(codes[k]) << (8 * (k % 4) + 2 * (k / 4));
    std::memcpy(to + column * sizeof word, &word, sizeof word);
  }
  static TwoBitChunk load(const std::byte* from) { return {from}; }
  void look_up(int i, Lanes (&w)[4]) const {
#if defined(IVL_AVX512)
    // Look-ups heed the low four bits of a lane: two codes, of which the table says which.
    const __m512 table = _mm512_loadu_ps(i % 2 == 0 ? values_of_low : values_of_high);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b].v = _mm512_permutexvar_ps((Words::load(from + b) >> i / 2 * 4).v, table);
#else
    const Words codes = fours(from, i);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b] = codes.byte(b);
#endif
  }

  static constexpr int base = 0;
  static Words fours(const std::byte* from, int i) { return (Words::load(from) >> 2 * i) & Words::of(four_times(3)); }

 private:
  static constexpr float values_of_low[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
  static constexpr float values_of_high[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
};

/// Three bits that stand for values of a table.
template <const float (&values)[8]>
struct ThreeBitChunk {
  static constexpr int depth = 16, words = 2, bytes = int(line_bytes) * 3 / 2;
  static constexpr std::size_t read_behind = 0;
  Words word, half_word;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    const std::uint32_t last = codes[15];
    std::uint32_t word = last << 30, half_word = last >> 2 << 15;
    for (int k = 0; k < 10; ++k) word |= std::uint32_t(codes[k]) << 3 * k;
    for (int k = 10; k < 15; ++k) half_word |= std::uint32_t(codes[k]) << 3 * (k - 10);
    const auto rest = std::uint16_t(half_word);
    std::memcpy(to + column * sizeof word, &word, sizeof word);
    std::memcpy(to + line_bytes + column * sizeof rest, &rest, sizeof rest);
  }
  static ThreeBitChunk load(const std::byte* from) {
    return {Words::load(from), Words::load_halves(from + line_bytes)};
  }
  void look_up(int i, Lanes (&w)[2]) const {
    w[0] = values_at(code(2 * i));
    w[1] = values_at(code(2 * i + 1));
  }

 private:
  /// In the low three bits.
  Words code(int k) const {
    if (k < 10) return word >> 3 * k;
    if (k < 15) return half_word >> 3 * (k - 10);
    return where(Words::of(3), word >> 30, half_word >> 13);
  }
  static Lanes values_at(Words codes) {
#if defined(IVL_AVX512)
    return {_mm512_permutexvar_ps(codes.v, _mm512_broadcast_f32x8(_mm256_loadu_ps(values)))};  // heeds four bits
#elif defined(IVL_AVX2)
    const __m256 table = _mm256_loadu_ps(values);
    return {_mm256_permutevar8x32_ps(table, codes.low), _mm256_permutevar8x32_ps(table, codes.high)};
#else
    float found[lanes];
    for (int c = 0; c < lanes; ++c) found[c] = values[codes.v[c / 4][c % 4] & 7];
    return Lanes::load(found);
#endif
  }
};

/// Five or six bits.
template <int bits>
struct ByteChunk {
  static_assert(bits == 5 || bits == 6);
  static constexpr int depth = bits == 5 ? 32 : 16, words = 4, lines = bits == 5 ? 5 : 3;
  static constexpr int bytes = lines * int(line_bytes);
  /// What the code 0 stands for: sums of 128 and a code are for fused multiply-adds, which take them exactly.
  static constexpr int base = bits == 6 ? Words::base : 0;
  static constexpr std::size_t read_behind = line_bytes;
  const std::byte* from;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    for (int b = 0; b < 4; ++b) {
      int byte[lines];
      for (int line = 0; line < lines; ++line) byte[line] = codes[4 * line + b];
      if (bits == 6) {
        const int code = codes[12 + b];
        for (int line = 0; line < 3; ++line) byte[line] |= code >> 2 * line << 6;
      } else {
        const int first = codes[20 + b], second = codes[24 + b], third = codes[28 + b];
        byte[0] |= first << 5;
        byte[1] |= first >> 3 << 5 | third >> 3 << 7;
        byte[2] |= second << 5;
        byte[3] |= second >> 3 << 5 | third >> 4 << 7;
        byte[4] |= third << 5;
      }
      for (int line = 0; line < lines; ++line) to[line * int(line_bytes) + int(column) * 4 + b] = std::byte(byte[line]);
    }
  }
  static ByteChunk load(const std::byte* from) { return {from}; }
  void look_up(int i, Lanes (&w)[4]) const {
#if defined(IVL_AVX512)
    if constexpr (bits == 5) {
      // Look-ups heed only the low five bits of a lane.
      const __m512 low = _mm512_loadu_ps(unsigned_values), high = _mm512_add_ps(low, _mm512_set1_ps(16));
      const Words together = i < lines ? Words::load(line(i)) : behind(i);
#pragma GCC unroll 4
      for (int b = 0; b < 4; ++b) {
        const Words codes = i < lines ? Words::load(line(i) + b) : together >> 8 * b;
        w[b].v = _mm512_permutex2var_ps(low, codes.v, high);
      }
      return;
    }
#endif
    const Words codes = fours(from, i);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b] = codes.byte(b);
  }
  static Words fours(const std::byte* from, int i) {
    const ByteChunk chunk{from};
    return (i < lines ? Words::load(chunk.line(i)) : chunk.behind(i)) & Words::of(four_times((1 << bits) - 1));
  }

 private:
  const std::byte* line(int i) const { return from + i * std::int64_t(line_bytes); }
  /// Four codes a word that the lines hold above theirs, and other bits above these.
  Words behind(int i) const {
    const auto shifted = [&](int of, int bits_down) { return Words::load(line(of)) >> bits_down; };
    const auto low = [](int number) { return Words::of(four_times((1 << number) - 1)); };
    if constexpr (bits == 6) return where(low(2), shifted(0, 6), where(low(4), shifted(1, 4), shifted(2, 2)));
    if (i == 7) return where(low(3), shifted(4, 5), where(low(4), shifted(1, 4), shifted(3, 3)));
    return where(low(3), shifted(2 * i - 10, 5), shifted(2 * i - 9, 2));
  }
};

/// Eight bits without a sign.
struct WholeByteChunk {
  static constexpr int depth = 16, words = 4, bytes = depth * panel_columns;
  /// What the code 0 stands for.
  static constexpr int base = Words::any_base;
  static constexpr std::size_t read_behind = 0;
  const std::byte* from;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    for (int k = 0; k < depth; ++k) to[k / 4 * int(line_bytes) + int(column) * 4 + k % 4] = std::byte(codes[k]);
  }
  static WholeByteChunk load(const std::byte* from) { return {from}; }
  void look_up(int i, Lanes (&w)[4]) const {
    const Words codes = fours(from, i);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b] = codes.any_byte(b);
  }
  static Words fours(const std::byte* from, int i) { return Words::load(from + i * std::int64_t(line_bytes)); }
};

/// Eight bits with a sign.
struct SignedByteChunk : WholeByteChunk {
  static constexpr int base = -128;
  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    std::uint8_t unsigned_codes[depth];
    for (int k = 0; k < depth; ++k) unsigned_codes[k] = codes[k] ^ 0x80;
    WholeByteChunk::put(unsigned_codes, column, to);
  }
  static SignedByteChunk load(const std::byte* from) { return {WholeByteChunk::load(from)}; }
  void look_up(int i, Lanes (&w)[4]) const {
    WholeByteChunk::look_up(i, w);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b] = w[b] - Lanes::of(128 + WholeByteChunk::base);
  }
};

/// E4M3, as 2^-8 of what it stands for: a half with the same bits of exponent and mantissa is that number, subnormal
/// ones too.
struct F8Chunk {
  static constexpr int depth = 8, words = 1, bytes = depth * panel_columns;
  static constexpr int unit = 256;
  static constexpr std::size_t read_behind = 0;
  const std::byte* from;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    for (int k = 0; k < depth; ++k) to[k * panel_columns + int(column)] = std::byte(codes[k]);
  }
  static F8Chunk load(const std::byte* from) { return {from}; }
  void look_up(int i, Lanes (&w)[1]) const {
    const std::byte* const codes = from + i * panel_columns;
#if defined(IVL_AVX512) || defined(IVL_AVX2)
    // Widened bytes repeat the sign, which must not stay in the bit above the exponent.
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(codes)));
    const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(short(0xbf80)));
#if defined(IVL_AVX512)
    w[0].v = _mm512_cvtph_ps(halves);
#else
    w[0].low = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    w[0].high = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
#endif
#else
    float values[lanes];
    for (int c = 0; c < lanes; ++c) values[c] = ivl::detail::F8Code::value(codes[c]) / float(unit);
    w[0] = Lanes::load(values);
#endif
  }
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
