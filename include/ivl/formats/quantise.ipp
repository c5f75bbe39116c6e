// The bodies of quantise.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/gguf_mxfp4.hpp"
#include "ivl/formats/q4_0.hpp"
#include "ivl/formats/q5_0.hpp"
#include "ivl/formats/q5_1.hpp"
#include "ivl/formats/q8_0.hpp"
#include "ivl/formats/quantise.hpp"
#include "ivl/formats/quantise_k.hpp"

namespace ivl {

namespace detail {

/// x y, rounded to float: a compiler may not contract it with what is added.
inline float rounded_product(float x, float y) { return float(double(x) * double(y)); }

/// 1 / scale; 0 for a scale so small that it has no inverse, whose codes mean 0 then.
inline float inverse_of(float scale) {
  const float inverse = 1 / scale;
  return std::isfinite(inverse) ? inverse : 0;
}

inline float largest_by_magnitude(const float* x, int count) {
  return *std::max_element(x, x + count, [](float a, float b) { return std::abs(a) < std::abs(b); });
}

/// The 32 codes of four bits as `each_nibble` reads them.
inline void put_nibbles(const int (&q)[32], std::uint8_t* codes) {
  for (int j = 0; j < 16; ++j) codes[j] = std::uint8_t((q[j] & 15) | (q[16 + j] & 15) << 4);
}
inline void put_fifth_bits(const int (&q)[32], std::uint8_t* high) {
  std::uint32_t bits = 0;
  for (int k = 0; k < 32; ++k) bits |= std::uint32_t(q[k] >> 4) << k;
  std::memcpy(high, &bits, sizeof bits);
}

/// Codes whose middle one is 0: the number of the largest magnitude gets the lowest code.
inline half middle_codes(const float* x, int middle, int (&q)[32]) {
  const float d = largest_by_magnitude(x, 32) / float(-middle), inverse = inverse_of(d);
  for (int k = 0; k < 32; ++k)
    q[k] = std::min(int(rounded_product(x[k], inverse) + (float(middle) + 0.5f)), 2 * middle - 1);
  return scale_half(d);
}

inline void quantise_block(const float* x, Q4_0::Block& to) {
  int q[32];
  to.d = middle_codes(x, 8, q);
  put_nibbles(q, to.codes);
}

inline void quantise_block(const float* x, Q5_0::Block& to) {
  int q[32];
  to.d = middle_codes(x, 16, q);
  put_nibbles(q, to.codes);
  put_fifth_bits(q, to.high);
}

inline void quantise_block(const float* x, Q5_1::Block& to) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float d = (*high - *low) / 31, inverse = inverse_of(d);
  int q[32];
  for (int k = 0; k < 32; ++k) q[k] = std::min(int(rounded_product(x[k] - *low, inverse) + 0.5f), 31);
  to.d = scale_half(d);
  to.m = scale_half(*low);
  put_nibbles(q, to.codes);
  put_fifth_bits(q, to.high);
}

/// To nearest, halves away from zero. Of small numbers: std::round is a call, which took 20 times as long.
inline int rounded_away(float x) {
  const float size = std::abs(x);
  const int whole = int(size), nearest = whole + (size - float(whole) >= 0.5f ? 1 : 0);
  return x < 0 ? -nearest : nearest;
}

struct Q8_0Block {
  half d;
  std::int8_t codes[32];
};

inline void quantise_block(const float* x, Q8_0Block& to) {
  const float d = std::abs(largest_by_magnitude(x, 32)) / 127, inverse = inverse_of(d);
  to.d = scale_half(d);
  for (int k = 0; k < 32; ++k) to.codes[k] = std::int8_t(rounded_away(rounded_product(x[k], inverse)));
}

inline void quantise_block(const float* x, GgufMxfp4::Block& to) {
  const float most = std::abs(largest_by_magnitude(x, 32));
  // 4 to 8 times the scale is the largest, and 6 the largest code. As floats: below a power of two the logarithm
  // rounds.
  const int exponent = most > 0 ? int(std::floor(float(std::log2(double(most))))) - 2 : -127;
  to.scale = std::uint8_t(std::clamp(exponent + 127, 0, 254));
  const float scale = e8m0_value(to.scale);
  int q[32];
  for (int k = 0; k < 32; ++k) {
    q[k] = 0;
    float least = std::numeric_limits<float>::infinity();
    for (int code = 0; code < 16; ++code) {
      const float error = std::abs(scale * e2m1_values[code] - x[k]);
      if (error < least) least = error, q[k] = code;
    }
  }
  put_nibbles(q, to.codes);
}

template <class Block>
void quantise_blocks(std::span<const float> rows, int elements, std::byte* to) {
  for (const float* x = rows.data(); x != rows.data() + rows.size(); x += elements, to += sizeof(Block)) {
    Block block{};
    quantise_block(x, block);
    std::memcpy(to, &block, sizeof block);
  }
}

template <class Scalar>
void round_scalars(std::span<const float> rows, std::byte* to) {
  for (const float x : rows) {
    const Scalar scalar = round_to<Scalar>(x);
    if (std::isfinite(x) && !std::isfinite(to_float(scalar)))
      fail<FileError>("the number ", x, " is beyond what it holds");
    std::memcpy(to, &scalar, sizeof scalar);
    to += sizeof scalar;
  }
}

using Quantiser = void (*)(std::span<const float> rows, std::byte* to);

template <class Block, int elements>
void quantise_all(std::span<const float> rows, std::byte* to) {
  const auto wrong = std::ranges::find_if_not(rows, [](float x) { return std::isfinite(x); });
  if (wrong != rows.end()) fail<FileError>("expected finite numbers, found ", double(*wrong));
  quantise_blocks<Block>(rows, elements, to);
}

inline Quantiser quantiser_of(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return round_scalars<float>;
    case GgmlType::f16:
      return round_scalars<half>;
    case GgmlType::bf16:
      return round_scalars<bf16>;
    case GgmlType::q4_0:
      return quantise_all<Q4_0::Block, 32>;
    case GgmlType::q5_0:
      return quantise_all<Q5_0::Block, 32>;
    case GgmlType::q5_1:
      return quantise_all<Q5_1::Block, 32>;
    case GgmlType::q8_0:
      return quantise_all<Q8_0Block, 32>;
    case GgmlType::mxfp4:
      return quantise_all<GgufMxfp4::Block, 32>;
    case GgmlType::q4_k:
      return quantise_all<Q4K::Block, 256>;
    case GgmlType::q5_k:
      return quantise_all<Q5K::Block, 256>;
    case GgmlType::q6_k:
      return quantise_all<Q6K::Block, 256>;
    default:
      return nullptr;
  }
}

}  // namespace detail

IVL_INLINE bool can_quantise(GgmlType type) { return detail::quantiser_of(type) != nullptr; }

IVL_INLINE std::vector<std::byte> quantise_rows(GgmlType type, std::span<const float> rows) {
  const detail::Quantiser quantiser = detail::quantiser_of(type);
  if (quantiser == nullptr)
    fail<FileError>("cannot quantise to ", name_of(type),
                    ": expected f32, f16, bf16, q4_0, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k or mxfp4");
  const auto elements = std::int64_t(rows.size());
  if (elements % block_elements(type) != 0)
    fail<FileError>("cannot quantise to ", name_of(type), ": expected whole blocks of ", block_elements(type),
                    ", found ", elements, " numbers");
  std::vector<std::byte> blocks(std::size_t(*bytes_of(type, elements)));
  naming(std::string("cannot quantise to ") + std::string(name_of(type)), [&] { quantiser(rows, blocks.data()); });
  return blocks;
}

}  // namespace ivl
