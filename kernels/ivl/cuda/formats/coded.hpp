// Formats whose weights are small whole numbers (or FP8) with scales: how a matrix of any of them lies on CUDA, as
// data, so that one kernel reads them all.
//
//   W[k] = (code[k] - zero) scale - minimum      scale and minimum belong to runs of k
//
// A matrix [out, in] is up to five planes, one behind the other, each [out] rows without gaps:
//
//   codes    four or eight bits each
//   high     one or two bits more of each code of four
//   scales   of each group of k: d, or d and m
//   steps    of each run of k, int8: what d, or d and m, are multiplied with
//   zeros    of each group, a byte: what is taken off its codes
//
// Codes lie so that a shift and a mask bring neighbours, 2i and 2i + 1, into the two halves of a word, where a pair of
// bf16 has them. Eight of four bits are a word: number 2i in the low half, from bit 4i on, and 2i + 1 in the high half.
// Four of eight bits are a word of the bytes 0, 2, 1, 3. Of the high bits of sixteen, those of the even ones are the
// low half of two or four bytes.
//
// A format fills in CodedFormat<F>: the layout, and on the host what a block of a file holds.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/cells.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::IVL_CUDA::detail {

enum class CodeKind : std::uint8_t {
  int4,  ///< four bits and the high ones
  iq4,   ///< four bits that stand for iq4_values
  int8,  ///< with a sign
  e4m3,  ///< FP8
};

/// What distinguishes one format from another.
struct CodedLayout {
  CodeKind kind = CodeKind::int4;
  int high_bits = 0;
  int zero = 0;            ///< is taken off every code, where there are no zeros
  bool has_zeros = false;  ///< a plane of them
  int group = whole_line;  ///< a power of two
  ScalarKind scale = ScalarKind::f16;
  bool has_minimum = false;  ///< m beside every d, and where there are steps two of them
  int run = 0;               ///< k of a step, a power of two; 0 where there are no steps
  float factor = 1;          ///< of every weight; rounds once more

  constexpr bool bytes() const { return kind >= CodeKind::int8; }
  /// Whether runs are of 16 k; all others are of 32 or more.
  constexpr bool short_runs() const { return run == 16 || group == 16; }

  constexpr std::int64_t groups(std::int64_t in) const { return cells_of(in, group); }
  constexpr std::int64_t codes_bytes(std::int64_t in) const { return bytes() ? in : in / 2; }
  constexpr std::int64_t high_bytes(std::int64_t in) const { return in * high_bits / 8; }
  constexpr std::int64_t scale_bytes() const { return (scale == ScalarKind::f32 ? 4 : 2) * (has_minimum ? 2 : 1); }
  constexpr std::int64_t scales_bytes(std::int64_t in) const { return groups(in) * scale_bytes(); }
  constexpr std::int64_t step_bytes() const { return run == 0 ? 0 : has_minimum ? 2 : 1; }
  constexpr std::int64_t steps_bytes(std::int64_t in) const { return run == 0 ? 0 : in / run * step_bytes(); }
  constexpr std::int64_t zeros_bytes(std::int64_t in) const { return has_zeros ? groups(in) : 0; }
};

/// Specialised for each of these formats:
///   layout
///   codes(cells, to)    those of a block, as numbers without a sign: to [F::block]
///   scales(cells, to)   of the group that begins with the block: scale_bytes() of them
///   steps(cells, to)    if it has them: those of a block
///   zero(cells)         if it has them: of the group that begins with the block
template <class F>
struct CodedFormat;

template <class F>
concept IsCoded = requires { CodedFormat<F>::layout; };

// ---- how codes lie ----------------------------------------------------------------------------------
/// Where code `number` of eight of four bits begins in their word.
constexpr int nibble_at(int number) { return number / 2 * 4 + number % 2 * 16; }
/// Which of a word's bytes code `number` of four is.
constexpr int byte_at(int number) { return number % 4 == 0 || number % 4 == 3 ? number : 3 - number; }
/// Where the high bits of code `number` of sixteen begin in their two or four bytes.
constexpr int high_at(int number, int high_bits) { return number / 2 * high_bits + number % 2 * 8 * high_bits; }

inline void put_word(std::uint32_t word, std::byte*& to, std::size_t bytes) {
  std::memcpy(to, &word, bytes);  // little-endian, as CUDA's hosts are
  to += bytes;
}

/// The plane of codes, sixteen at a time.
inline void put_codes(const CodedLayout& layout, const std::uint8_t (&codes)[16], std::byte*& to) {
  if (layout.bytes()) {
    for (int k = 0; k < 16; ++k) to[k / 4 * 4 + byte_at(k % 4)] = std::byte(codes[k]);
    to += 16;
    return;
  }
  for (int first = 0; first < 16; first += 8) {
    std::uint32_t word = 0;
    for (int i = 0; i < 8; ++i) word |= std::uint32_t(codes[first + i] & 15) << nibble_at(i);
    put_word(word, to, sizeof word);
  }
}
inline void put_high(const CodedLayout& layout, const std::uint8_t (&codes)[16], std::byte*& to) {
  std::uint32_t word = 0;
  for (int k = 0; k < 16; ++k) word |= std::uint32_t(codes[k] >> 4) << high_at(k, layout.high_bits);
  put_word(word, to, std::size_t(2 * layout.high_bits));
}

/// Row `row` of a part of a file becomes a row of plane `plane`.
template <class F>
void fill_coded_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
  using Coded = CodedFormat<F>;
  constexpr CodedLayout layout = Coded::layout;
  const auto each = [&](int step, const auto& visit) {
    for (std::int64_t k = 0; k < part.in; k += step) visit(part.cells<F>(row, k));
  };
  if (plane <= 1) {
    std::uint8_t codes[F::block];
    each(F::block, [&](const BlockCells& cells) {
      Coded::codes(cells, codes);
      for (int first = 0; first < F::block; first += 16) {
        std::uint8_t sixteen[16];
        std::memcpy(sixteen, codes + first, sizeof sixteen);
        plane == 0 ? put_codes(layout, sixteen, to) : put_high(layout, sixteen, to);
      }
    });
  } else if (plane == 2) {
    each(layout.group, [&](const BlockCells& cells) {
      Coded::scales(cells, to);
      to += layout.scale_bytes();
    });
  } else if (plane == 3) {
    if constexpr (layout.run != 0) {
      each(F::block, [&](const BlockCells& cells) {
        Coded::steps(cells, reinterpret_cast<std::int8_t*>(to));
        to += layout.steps_bytes(F::block);
      });
    }
  } else if constexpr (layout.has_zeros) {
    each(layout.group, [&](const BlockCells& cells) { *to++ = std::byte(Coded::zero(cells)); });
  }
}

}  // namespace ivl::IVL_CUDA::detail
