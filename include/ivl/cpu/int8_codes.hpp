// Codes of 8 bits that stand for numbers of a row, 128 neighbours at a time:
//
//   scale = largest magnitude / 127     code = x (127 / largest magnitude), rounded to the nearest, ties to even
//
// So codes are -127 ... 127. The same bits at every level. A block whose largest magnitude is below 2^-120 is zeros;
// one that holds what is not finite has codes of 0 and a scale that is NaN.
//
// Why 128: an output of a few neighbours among which one is large loses what the others are, so blocks should be short;
// but each costs a conversion and two float operations beside the products of 4 k a lane. All widths of the published
// models but one (588) are multiples of 128, and not all of 256.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// Numbers that share a scale.
inline constexpr int int8_block = 128;
/// Sums of codes are kept for every so many: no weights' scale belongs to fewer.
inline constexpr int int8_sum_step = 16;

/// x to the nearest whole numbers, ties to even, which are -128 ... 127.
inline void store_rounded(Lanes x, std::int8_t* to) {
#if defined(IVL_AVX512)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
#elif defined(IVL_AVX2)
  const __m256i halves = _mm256_packs_epi32(_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high));
  const __m256i in_order = _mm256_permute4x64_epi64(halves, 0b11'01'10'00);  // packed were 0-3, 8-11, 4-7, 12-15
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_packs_epi16(_mm256_castsi256_si128(in_order), _mm256_extracti128_si256(in_order, 1)));
#else
  float wide[lanes];
  x.store(wide);
  for (int i = 0; i < lanes; ++i) to[i] = std::int8_t(std::lrint(wide[i]));
#endif
}

/// One block: `number` <= int8_block numbers, then zeros. Returns the scale.
template <class Scalar>
float quantise_block(const Scalar* x, std::int64_t number, std::int8_t* codes) {
  const auto load = [=](std::int64_t i) {
    return i + lanes <= number ? Lanes::load(x + i) : load_first(x + i, std::max<std::int64_t>(0, number - i));
  };
  Lanes size = Lanes::zero(), not_finite = Lanes::zero();
  for (std::int64_t i = 0; i < number; i += lanes) {
    const Lanes some = load(i);
    size = max(size, abs(some));
    not_finite = not_finite + some * Lanes::zero();  // NaN of what is not finite
  }
  const float amax = largest(size), nan = sum(not_finite);
  if (!(amax >= 0x1p-120f) || nan != 0) {
    std::fill_n(codes, int8_block, std::int8_t(0));
    return nan;
  }
  const Lanes inverse = Lanes::of(127 / amax);
  for (std::int64_t i = 0; i < int8_block; i += lanes)
    store_rounded(i < number ? load(i) * inverse : Lanes::zero(), codes + i);
  return amax / 127;
}

/// A row of activations as codes, [round_up(width, int8_block)]; behind the row they are 0.
struct Int8Row {
  const std::int8_t* codes;
  const float* scales;       ///< of each block
  const std::int32_t* sums;  ///< sums[i]: of all codes before k = i int8_sum_step

  std::int32_t sum(std::int64_t begin, std::int64_t end) const {
    return sums[end / int8_sum_step] - sums[begin / int8_sum_step];
  }
};

/// Rows of activations as codes.
class Int8Rows {
 public:
  Int8Rows() = default;
  /// `memory`: bytes(count, width), lines.
  Int8Rows(std::byte* memory, std::int64_t width) : memory_(memory), width_(width) {}

  static std::int64_t bytes(std::int64_t count, std::int64_t width) { return count * row_bytes(width); }

  template <class Scalar>
  void quantise(Context& ctx, Rows<const Scalar> x) {
    const auto quantise_row = [&](std::int64_t r) { put(x[r], r); };
    if (x.count <= 4) {
      for (std::int64_t r = 0; r < x.count; ++r) quantise_row(r);
    } else {
      ctx.pool.run(x.count, quantise_row);
    }
  }
  Int8Row operator[](std::int64_t row) const {
    const std::byte* at = memory_ + row * row_bytes(width_);
    return {reinterpret_cast<const std::int8_t*>(at), reinterpret_cast<const float*>(at + scales_at(width_)),
            reinterpret_cast<const std::int32_t*>(at + sums_at(width_))};
  }

 private:
  static std::int64_t scales_at(std::int64_t width) { return round_up(width, int8_block); }
  static std::int64_t sums_at(std::int64_t width) {
    return scales_at(width) + ceil_div(width, int8_block) * std::int64_t(sizeof(float));
  }
  /// An odd number of lines, so that rows do not fall into the same cache sets.
  static std::int64_t row_bytes(std::int64_t width) {
    const std::int64_t sums = scales_at(width) / int8_sum_step + 1;
    return round_up(sums_at(width) + sums * std::int64_t(sizeof(std::int32_t)), 2 * line_bytes) + line_bytes;
  }

  template <class Scalar>
  void put(const Scalar* x, std::int64_t row) const {
    std::byte* const at = memory_ + row * row_bytes(width_);
    auto* codes = reinterpret_cast<std::int8_t*>(at);
    auto* scales = reinterpret_cast<float*>(at + scales_at(width_));
    auto* sums = reinterpret_cast<std::int32_t*>(at + sums_at(width_));
    *sums = 0;
    for (std::int64_t k = 0; k < width_; k += int8_block, codes += int8_block) {
      *scales++ = quantise_block(x + k, std::min<std::int64_t>(int8_block, width_ - k), codes);
      for (int i = 0; i < int8_block; i += int8_sum_step, ++sums) {
        std::int32_t sum = 0;
        for (int j = i; j < i + int8_sum_step; ++j) sum += codes[j];
        sums[1] = sums[0] + sum;
      }
    }
  }

  std::byte* memory_ = nullptr;
  std::int64_t width_ = 0;
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
