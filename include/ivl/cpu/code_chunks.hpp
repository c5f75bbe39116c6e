// Codes of two to six bits of sixteen columns, a chunk at a time.
//
// Chunks of four bits, 8 k each, are the lines of nibbles.hpp. Those of other widths are 16 k, in up to two parts that
// together are the bits of a code, low ones first. In all of them byte b of what belongs to a column stands for k = b,
// 4 + b, 8 + b and 12 + b:
//
//   four bits   two lines [16] u32    line l: the low four bits of byte b are k = 8l + b, the high ones k = 8l + 4 + b
//   two bits    a line [16] u32       bits 2j of byte b are k = 4j + b
//   one bit     half a line [16] u16  bit j of byte b is k = 4j + b, bit 4 + j is k = 4j + 2 + b
//
//   2 = two   3 = two + one   5 = four + one   6 = four + two
//
// A kind of chunks offers:
//   depth, bytes           of one
//   words                  k that `look_up` gives at once
//   read_behind            bytes that loads may touch behind the last one
//   put(codes, column, to) depth codes of one column, whose other bits are zero
//   load(from)             and of its word i: look_up(i, values)
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/buffer.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/words.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

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
};

/// Two, three, five or six bits that stand for the numbers that they are.
template <int bits>
struct BitChunk {
  static_assert(bits == 2 || bits == 3 || bits == 5 || bits == 6);
  static constexpr bool fours = bits >= 4, twos = bits != 5, ones = bits % 2 == 1;
  static constexpr int depth = 16, words = 4;
  static constexpr int twos_at = fours ? 2 * int(line_bytes) : 0, ones_at = twos_at + (twos ? int(line_bytes) : 0);
  static constexpr int bytes = ones_at + (ones ? int(line_bytes) / 2 : 0);
  static constexpr std::size_t read_behind = 0;
  const std::byte* from;

  static void put(const std::uint8_t* codes, std::size_t column, std::byte* to) {
    std::uint32_t four[2] = {}, two = 0;
    std::uint16_t one = 0;
    for (int k = 0; k < depth; ++k) {
      const std::uint32_t code = codes[k], high = fours ? code >> 4 : code;
      const int b = k % 4, j = k / 4;
      if (fours) four[j / 2] |= (code & 15) << (8 * b + 4 * (j % 2));
      if (twos) two |= (high & 3) << (8 * b + 2 * j);
      if (ones) one = std::uint16_t(one | code >> (bits - 1) << (8 * (b % 2) + 4 * (b / 2) + j));
    }
    if (fours) {
      std::memcpy(to + column * sizeof four[0], &four[0], sizeof four[0]);
      std::memcpy(to + line_bytes + column * sizeof four[1], &four[1], sizeof four[1]);
    }
    if (twos) std::memcpy(to + twos_at + column * sizeof two, &two, sizeof two);
    if (ones) std::memcpy(to + ones_at + column * sizeof one, &one, sizeof one);
  }
  static BitChunk load(const std::byte* from) { return {from}; }
  void look_up(int i, Lanes (&w)[4]) const {
    const Words codes = bytes_of(i);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) w[b] = codes.byte(b);
  }

 private:
  /// The low part stays in its bits, and the high one comes behind it: of each, all else is masked once.
  Words bytes_of(int i) const {
    Words low = fours ? Words::load(from + i / 2 * std::int64_t(line_bytes)) >> i % 2 * 4
                      : Words::load(from + twos_at) >> 2 * i;
    if constexpr (bits != 2) {
      Words high;
      int at;
      if constexpr (ones) {
        const Words halves = Words::load_halves(from + ones_at);
        high = halves | halves << 12;
        at = i;
      } else {
        high = Words::load(from + twos_at);
        at = 2 * i;
      }
      constexpr int to = fours ? 4 : 2;
      high = at < to ? high << to - at : high >> at - to;
      low = where(Words::of(repeated((1 << to) - 1)), low, high);
    }
    return low & Words::of(repeated((1 << bits) - 1));
  }
  static constexpr std::uint32_t repeated(int byte) { return std::uint32_t(byte) * 0x01010101u; }
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
