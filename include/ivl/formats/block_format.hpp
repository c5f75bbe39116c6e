// What the formats of ggml share: one plane of blocks, each with its scales, codes and signs.
//
// Where a code is a few bits at even steps or of a table, `codes` takes a block's apart: what dequantise and the
// layouts of backends begin with.
//
// All products that they form have at most 24 significant bits, so floats hold them exactly; a format that subtracts a
// minimum rounds once, whatever the compiler contracts.
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl::detail {

/// The base of a tag whose blocks of `elements` inputs take `bytes`. The tag's `Block` says what lies where.
template <int elements, int bytes>
struct BlockFormat {
  static constexpr int block = elements;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[1] = {{"blocks", 1, elements, bytes}};  // nvcc 13.0 needs the 1
};

/// What the codes of a run are multiplied with, and what is taken off then, in units of the block's scales.
struct ScaleAndMinimum {
  int scale, minimum;
};

/// A copy of the block, since it may lie at any address.
template <class F>
typename F::Block block_at(const BlockCells& cells) {
  typename F::Block block;
  static_assert(sizeof block == F::planes[0].bytes);
  std::memcpy(&block, cells.at[0], sizeof block);
  return block;
}

/// Whether the scales of a block are numbers: all codes are.
template <class F>
bool has_finite_scales(const BlockCells& cells) {
  const auto finite = [](half x) { return (x.bits & 0x7c00) != 0x7c00; };
  const auto b = block_at<F>(cells);
  if constexpr (requires { b.d; }) {
    if (!finite(b.d)) return false;
  }
  if constexpr (requires { b.dmin; }) {
    if (!finite(b.dmin)) return false;
  }
  if constexpr (requires { b.m; }) {
    if (!finite(b.m)) return false;
  }
  if constexpr (requires { F::scale_of(b); }) return std::isfinite(F::scale_of(b));
  return true;
}

/// to[k] = value(code, k) for the 32 codes of four bits in 16 bytes: the low bits are elements 0 ... 15, the high ones
/// 16 ... 31.
template <class To, class Value>
void each_nibble(const std::uint8_t* codes, To* to, const Value& value) {
  for (int j = 0; j < 16; ++j) to[j] = value(codes[j] & 15, j);
  for (int j = 0; j < 16; ++j) to[16 + j] = value(codes[j] >> 4, 16 + j);
}

/// to[k] = the 32 codes of four bits in 16 bytes, with a fifth bit each where `high` has bit k set.
inline void five_bits(const std::uint8_t* codes, const std::uint8_t (&high)[4], std::uint8_t* to) {
  std::uint32_t bits;
  std::memcpy(&bits, high, sizeof bits);
  each_nibble(codes, to, [&](int q, int k) { return std::uint8_t(unsigned(q) | (bits >> k & 1) << 4); });
}

/// The four bits `index` of some bytes, low ones first.
constexpr int nibble(const std::uint8_t* bytes, int index) { return bytes[index / 2] >> 4 * (index % 2) & 15; }

/// The signs of eight elements. Seven are stored; the eighth makes the number of set signs even.
constexpr unsigned with_even_sign(unsigned signs) { return signs | unsigned(std::popcount(signs) & 1) << 7; }

/// to[j] = letter(values[j]), with the bit `sign` where bit j of `signs` is set: codes of a row of a grid.
template <int sign, int count, class Letter>
void signed_letters(const std::int8_t* values, unsigned signs, const Letter& letter, std::uint8_t* to) {
  for (int j = 0; j < count; ++j) to[j] = std::uint8_t(letter(values[j]) | (signs >> j & 1 ? sign : 0));
}

/// to[k] = d scale_of(run) values[code[k]], exactly.
template <class F, int run, std::size_t count>
void dequantise_table(const typename F::Block& b, const float (&values)[count], float* to) {
  std::uint8_t q[F::block];
  F::codes(b, q);
  for (int k = 0; k < F::block; ++k) to[k] = to_float(b.d) * float(F::scale_of(b, k / run)) * values[q[k]];
}

}  // namespace ivl::detail
