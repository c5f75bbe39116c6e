// Weights that coded.hpp lays, in device code: sixteen of a row become pairs of bf16, exactly, beside their scale and
// minimum; or one of them a float.
//
// A code becomes a bf16 by a look at its bits: 0x4300 | q is 128 + q for q up to 127, so a mask and one exact sum make
// a pair of numbers. Integer instructions a weight, counted on sm_90: 1.4 with four bits, 2.3 with five, six and eight,
// 1.3 of FP8, 4.4 where codes stand for a table's values.
#pragma once
#include <cuda_runtime.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/prim/bf16_pairs.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::detail {

namespace coded {

inline constexpr std::uint32_t magic = 0x43004300u;  // two times 128

/// The low seven bits of bytes 0 and 2 of a word, less 128 where the eighth is set.
__device__ inline std::uint32_t int8_pair(std::uint32_t word) {
  return prim::add_bf16_pairs((word & 0x007f007fu) | magic, (word & 0x00800080u) | magic | 0x80008000u);
}
/// FP8 in bytes 0 and 2 of a word. Both formats write subnormal numbers alike, so a product with 2^(127 - 7) will do.
__device__ inline std::uint32_t e4m3_pair(std::uint32_t word) {
  return prim::multiply_bf16_pairs((word << 8 & 0x80008000u) | (word << 4 & 0x07f007f0u), 0x7b807b80u);
}

/// What a word of eight codes stands for in iq4_values, as two words of four bytes each.
__device__ inline void iq4_bytes(std::uint32_t word, std::uint32_t (&bytes)[2]) {
  // iq4_values, four a word.
  constexpr std::uint32_t table[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
  std::uint32_t of_half[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t codes = word >> 16 * half, upper = codes >> 1 & 0x4444u;  // 4 where a code is 8 or more
    const std::uint32_t low = __byte_perm(table[0], table[1], codes & 0x7777u),
                        high = __byte_perm(table[2], table[3], codes & 0x7777u);
    of_half[half] = __byte_perm(low, high, 0x3210u | upper);
  }
  bytes[0] = __byte_perm(of_half[0], of_half[1], 0x5410u);  // numbers 0, 2, 1, 3
  bytes[1] = __byte_perm(of_half[0], of_half[1], 0x7632u);
}

/// Four codes of eight bits, bytes 0, 2, 1, 3 of a word, as two pairs.
__device__ inline void byte_pairs(bool e4m3, std::uint32_t word, std::uint32_t (&to)[2]) {
  to[0] = e4m3 ? e4m3_pair(word) : int8_pair(word);
  to[1] = e4m3 ? e4m3_pair(word >> 8) : int8_pair(word >> 8);
}

/// What int4_pair adds for a zero point.
__device__ inline std::uint32_t minus_zero(int zero) { return magic + std::uint32_t(zero) * 0x00010001u + 0x80008000u; }
/// The high bits of sixteen codes: those of even numbers in the low half, of odd ones in the high half.
__device__ inline std::uint32_t two_halves(std::uint32_t high, int bits) {
  return bits == 1 ? (high & 0xffu) | (high & 0xff00u) << 8 : high;
}
/// Codes 2i and 2i + 1 of four bits and more: the low ones in bits 0 to 3 of the halves of a word.
__device__ inline std::uint32_t int4_pair(std::uint32_t low, std::uint32_t high_halves, int high_bits, int i,
                                          std::uint32_t minus_zero) {
  const std::uint32_t mask = high_bits == 0 ? 0 : high_bits == 1 ? 0x00010001u : 0x00030003u;
  const std::uint32_t upper = high_halves >> high_bits * i & mask;
  return prim::add_bf16_pairs((low & 0x000f000fu) | upper << 4 | magic, minus_zero);
}

}  // namespace coded

/// A kernel's parameter: a matrix [out, in] as coded.hpp lays it.
struct CodedMatrix {
  CodedLayout layout;
  bool bytes, short_runs;  // the layout's
  const std::byte *codes, *high, *scales, *steps, *zeros;
  int group_shift, run_shift;
  std::int64_t row_codes, row_high, row_scales, row_steps, row_zeros;  // bytes

  CodedMatrix() = default;
  CodedMatrix(const CodedLayout& layout, const std::byte* data, std::int64_t out, std::int64_t in)
      : layout(layout),
        bytes(layout.bytes()),
        short_runs(layout.short_runs()),
        group_shift(std::countr_zero(unsigned(layout.group))),
        run_shift(layout.run == 0 ? 0 : std::countr_zero(unsigned(layout.run))),
        row_codes(layout.codes_bytes(in)),
        row_high(layout.high_bytes(in)),
        row_scales(layout.scales_bytes(in)),
        row_steps(layout.steps_bytes(in)),
        row_zeros(layout.zeros_bytes(in)) {
    codes = data;
    high = codes + out * row_codes;
    scales = high + out * row_high;
    steps = scales + out * row_scales;
    zeros = steps + out * row_steps;
  }

  /// One that lies `bytes` behind it.
  __device__ CodedMatrix behind(std::int64_t bytes) const {
    CodedMatrix other = *this;
    other.codes += bytes, other.high += bytes, other.scales += bytes, other.steps += bytes, other.zeros += bytes;
    return other;
  }
};

/// What the scale and the minimum of a run come from, as it lies in memory: loads of it need not be waited for until
/// scale() or minimum() are asked.
struct CodedScale {
  std::uint32_t d = 0, m = 0;
  std::uint16_t steps = 0;
  std::uint8_t zero = 0;

  CodedScale() = default;
  __device__ CodedScale(const CodedMatrix& w, std::int64_t row, int k) {
    const CodedLayout& layout = w.layout;
    const int group = k >> w.group_shift;
    if (layout.scale == ScalarKind::f32) {
      const auto* const from = reinterpret_cast<const std::uint32_t*>(w.scales + row * w.row_scales);
      d = from[layout.has_minimum ? 2 * group : group];
      if (layout.has_minimum) m = from[2 * group + 1];
    } else if (layout.has_minimum) {
      d = reinterpret_cast<const std::uint32_t*>(w.scales + row * w.row_scales)[group];
    } else {
      d = reinterpret_cast<const std::uint16_t*>(w.scales + row * w.row_scales)[group];
    }
    if (layout.run != 0) {
      const std::byte* const from = w.steps + row * w.row_steps;
      const int run = k >> w.run_shift;
      steps = layout.has_minimum ? reinterpret_cast<const std::uint16_t*>(from)[run]
                                 : std::uint16_t(reinterpret_cast<const std::uint8_t*>(from)[run]);
    }
    if (layout.has_zeros) zero = reinterpret_cast<const std::uint8_t*>(w.zeros + row * w.row_zeros)[group];
  }
  /// But for the layout's factor.
  __device__ float scale(const CodedLayout& layout) const {
    const float scale = scalar(layout.scale, d);
    return layout.run == 0 ? scale : scale * float(std::int8_t(steps));
  }
  /// Of a layout that has one.
  __device__ float minimum(const CodedLayout& layout) const {
    const float minimum = layout.scale == ScalarKind::f32 ? __uint_as_float(m) : scalar(layout.scale, d >> 16);
    return layout.run == 0 ? minimum : minimum * float(std::int8_t(steps >> 8));
  }
  __device__ int zero_of(const CodedLayout& layout) const { return layout.has_zeros ? zero : layout.zero; }

 private:
  static __device__ float scalar(ScalarKind kind, std::uint32_t bits) {
    if (kind == ScalarKind::f32) return __uint_as_float(bits);
    if (kind == ScalarKind::bf16) return prim::widen(bf16{std::uint16_t(bits)});
    return prim::widen(half{std::uint16_t(bits)});
  }
};

/// The high bits of the sixteen codes from k on, of a layout with codes of four bits and perhaps more.
__device__ inline std::uint32_t high_bits_at(const CodedMatrix& w, std::int64_t row, int k) {
  const std::byte* const from = w.high + row * w.row_high;
  if (w.layout.high_bits == 1) return reinterpret_cast<const std::uint16_t*>(from)[k / 16];
  if (w.layout.high_bits == 2) return reinterpret_cast<const std::uint32_t*>(from)[k / 16];
  return 0;
}

/// Sixteen neighbours of a row, with codes of eight or of four bits. Waits for loads as CodedScale does.
template <bool Bytes>
struct CodedPiece {
  static constexpr int numbers = 16, words = Bytes ? 4 : 2;
  std::uint32_t codes[words] = {};
  std::uint32_t high = 0;
  CodedScale scale;

  CodedPiece() = default;
  /// k is a multiple of 16.
  __device__ CodedPiece(const CodedMatrix& w, std::int64_t row, int k) : scale(w, row, k) {
    const std::byte* const from = w.codes + row * w.row_codes;
    if constexpr (Bytes) {
      const uint4 four = *reinterpret_cast<const uint4*>(from + k);
      codes[0] = four.x, codes[1] = four.y, codes[2] = four.z, codes[3] = four.w;
    } else {
      const uint2 two = *reinterpret_cast<const uint2*>(from + k / 2);
      codes[0] = two.x, codes[1] = two.y;
      high = high_bits_at(w, row, k);
    }
  }

  /// Pair i is numbers 2i and 2i + 1, bf16.
  __device__ void pairs(const CodedLayout& layout, std::uint32_t (&to)[8]) const {
    if constexpr (Bytes) {
      byte_pairs(layout.kind == CodeKind::e4m3, codes, to);
    } else if (layout.kind == CodeKind::iq4) {
      std::uint32_t bytes[2][2];
      coded::iq4_bytes(codes[0], bytes[0]);
      coded::iq4_bytes(codes[1], bytes[1]);
      byte_pairs(false, {bytes[0][0], bytes[0][1], bytes[1][0], bytes[1][1]}, to);
    } else {
      nibble_pairs(layout, to);
    }
  }

 private:
  static __device__ void byte_pairs(bool e4m3, const std::uint32_t (&words)[4], std::uint32_t (&to)[8]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::uint32_t two[2];
      coded::byte_pairs(e4m3, words[i], two);
      to[2 * i] = two[0], to[2 * i + 1] = two[1];
    }
  }
  __device__ void nibble_pairs(const CodedLayout& layout, std::uint32_t (&to)[8]) const {
    const std::uint32_t minus_zero = coded::minus_zero(scale.zero_of(layout));
    const std::uint32_t high_halves = coded::two_halves(high, layout.high_bits);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      to[i] = coded::int4_pair(codes[i / 4] >> 4 * (i % 4), high_halves, layout.high_bits, i, minus_zero);
  }
};

/// One element, exactly.
__device__ inline float coded_at(const CodedMatrix& w, std::int64_t row, int k) {
  const CodedScale scale(w, row, k);
  std::uint32_t pairs[8];
  if (w.bytes) {
    CodedPiece<true>(w, row, k & ~15).pairs(w.layout, pairs);
  } else {
    CodedPiece<false>(w, row, k & ~15).pairs(w.layout, pairs);
  }
  std::uint32_t pair = pairs[0];
#pragma unroll
  for (int i = 1; i < 8; ++i) {
    if (k % 16 / 2 == i) pair = pairs[i];
  }
  const float2 both = prim::widen_pair<bf16>(pair);
  // Where there is a minimum the product is exact, so it does not matter whether the compiler fuses the two.
  const float weight = (k % 2 == 0 ? both.x : both.y) * scale.scale(w.layout);
  return w.layout.has_minimum ? weight - scale.minimum(w.layout) : weight * w.layout.factor;
}

}  // namespace ivl::IVL_CUDA::detail
