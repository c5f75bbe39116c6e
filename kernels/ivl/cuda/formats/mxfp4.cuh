// MXFP4 on CUDA (see formats/mxfp4.hpp): how codes lie, and how they become bf16 in registers, exactly.
//
// A matrix [out, in] is codes [out, in / 2] and then scales [out, in / 32]. Eight neighbours share a word, the even
// ones its lower half and the odd ones its upper half; of a half, with s the sign and e, m the exponent and mantissa of
// numbers 0, 2, 4, 6 (or 1, 3, 5, 7):
//
//   bit     15  14  13  12  11  10   9   8   7   6   5   4   3   2   1   0
//   holds   s0  s3  m3  s1  e3  e3  s2  e0  e0  m0  e1  e1  m1  e2  e2  m2
//
// So a shift and a mask put the sign, exponent and mantissa of two neighbours where a pair of bf16 has them, for three
// of the four pairs. The integer pipe is what limits products with these weights: 11 of its instructions a word.
#pragma once
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/cuda/formats/stored.cuh"
#include "ivl/cuda/prim/bf16_pairs.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::IVL_CUDA::detail {

namespace mxfp4 {

/// A byte of two codes, as the stored scalar of a matrix.
struct Codes {
  std::uint8_t pair;
};

/// Where the codes of byte `byte` of a file's word of eight lie in ours: word_bits[byte][its value].
inline constexpr auto word_bits = [] {
  std::array<std::array<std::uint32_t, 256>, 4> bits{};
  constexpr int sign_at[] = {15, 12, 9, 14}, exponent_at[] = {7, 4, 1, 10}, mantissa_at[] = {6, 3, 0, 13};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    for (unsigned codes = 0; codes < 256; ++codes) {
      for (unsigned odd = 0; odd < 2; ++odd) {
        const unsigned code = codes >> 4 * odd & 15;
        const unsigned half =
            code >> 3 << sign_at[byte] | (code >> 1 & 3) << exponent_at[byte] | (code & 1) << mantissa_at[byte];
        bits[byte][codes] |= half << 16 * odd;
      }
    }
  }
  return bits;
}();

/// Eight codes as files hold them become a word of ours.
constexpr std::uint32_t word_of(std::uint32_t codes) {
  return word_bits[0][codes & 255] | word_bits[1][codes >> 8 & 255] | word_bits[2][codes >> 16 & 255] |
         word_bits[3][codes >> 24];
}

/// What the four bits of a code, as sign, exponent and mantissa of a bf16, must be multiplied with.
///
/// The two bits of the code's exponent count from 1 where a bf16's count from 127, and both formats write numbers below
/// their least exponent alike: the bf16 is the value times 2^-126. With the block's 2^(scale - 127) that makes
/// 2^(scale - 1). A bf16 holds up to 2^127 of it; larger scales take a second product.
struct Scale {
  int scale;

  static constexpr int most = 128;  // that one product does
  __device__ bool large() const { return scale > most; }
  __device__ std::uint32_t factor() const { return power(min(scale, most) - 1); }
  __device__ std::uint32_t rest() const { return power(scale - most); }
  /// What the doubled number is multiplied with.
  __device__ float of_doubled() const {
    return __int_as_float(scale > 1 ? (scale - 1) << 23 : 0x00200000 << scale);  // subnormal below 2^-126
  }

 private:
  /// A pair of bf16.
  __device__ static std::uint32_t power(int exponent) { return std::uint32_t(exponent + 127) * 0x00800080u; }
};

/// Eight codes; pairs[i] is numbers 2i and 2i + 1.
__device__ inline void dequantise_word(std::uint32_t word, std::uint32_t factor, std::uint32_t (&pairs)[4]) {
  constexpr std::uint32_t mask = 0x81c081c0u;
  pairs[0] = word & mask;
  pairs[1] = word << 3 & mask;
  pairs[2] = word << 6 & mask;
  pairs[3] = (word << 1 & 0x80008000u) | (word >> 3 & 0x01800180u) | (word >> 7 & 0x00400040u);
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = prim::multiply_bf16_pairs(pairs[i], factor);
}

/// Number `column` of a row of codes, under that scale.
__device__ inline float number_at(const Codes* row, int column, Scale scale) {
  const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(row)[column / 8];
  std::uint32_t pairs[4];
  dequantise_word(word, scale.factor(), pairs);
  const int which = column % 8 / 2;
  std::uint32_t pair = which == 0 ? pairs[0] : which == 1 ? pairs[1] : which == 2 ? pairs[2] : pairs[3];
  if (scale.large()) pair = prim::multiply_bf16_pairs(pair, scale.rest());
  const float2 numbers = prim::widen_pair<bf16>(pair);
  return column % 2 == 0 ? numbers.x : numbers.y;
}

/// The scale of number k of row `row` of a matrix.
__device__ inline Scale scale_at(const std::byte* data, int out, int in, std::int64_t row, int k) {
  const auto* const scales = reinterpret_cast<const std::uint8_t*>(data + out * std::int64_t(in / 2));
  return {scales[row * (in / mxfp4_block) + k / mxfp4_block]};
}
/// Number k of row `row` of a matrix, under that scale.
__device__ inline float element(const std::byte* data, int in, std::int64_t row, int k, Scale scale) {
  return number_at(reinterpret_cast<const Codes*>(data) + row * std::int64_t(in / 2), k, scale);
}

}  // namespace mxfp4

template <>
struct Stored<Mxfp4> {
  static constexpr int planes = 2;
  static constexpr std::int64_t row_bytes(int plane, std::int64_t in) { return plane == 0 ? in / 2 : in / mxfp4_block; }
  static void fill_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    const std::byte* const from = part.cells<Mxfp4>(row, 0).at[std::size_t(plane)];
    if (plane == 1) {
      std::memcpy(to, from, std::size_t(row_bytes(1, part.in)));
      return;
    }
    for (std::int64_t at = 0; at < row_bytes(0, part.in); at += std::int64_t(sizeof(std::uint32_t))) {
      std::uint32_t word;
      std::memcpy(&word, from + at, sizeof word);
      word = mxfp4::word_of(word);
      std::memcpy(to + at, &word, sizeof word);
    }
  }
};

/// As GGUF has it: other bytes in the file, the same planes here. Its code 8 is 0, which has no sign.
template <>
struct Stored<GgufMxfp4> : Stored<Mxfp4> {
  static void fill_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    for (std::int64_t k = 0; k < part.in; k += mxfp4_block) {
      const auto block = ivl::detail::block_at<GgufMxfp4>(part.cells<GgufMxfp4>(row, k));
      if (plane == 1) {
        *to++ = std::byte(block.scale);
        continue;
      }
      std::uint8_t codes[mxfp4_block];
      GgufMxfp4::codes(block, codes);
      for (int first = 0; first < mxfp4_block; first += 8, to += sizeof(std::uint32_t)) {
        std::uint32_t word = 0;
        for (int i = 0; i < 8; ++i) word |= std::uint32_t(codes[first + i] == 8 ? 0 : codes[first + i]) << 4 * i;
        word = mxfp4::word_of(word);
        std::memcpy(to, &word, sizeof word);
      }
    }
  }
};

}  // namespace ivl::IVL_CUDA::detail
