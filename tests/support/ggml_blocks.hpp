// Blocks of ggml's formats: random bytes, and the numbers that they are by the formulas that ggml documents, element by
// element and in double precision.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/format.hpp"

namespace ivl_test {

using namespace ivl;

/// A format of one plane of blocks. `d`, `m`: where in a block its scale and its minimum are, -1 for none. `unit`: the
/// deviation of the numbers of random bytes whose d is 1; `middle`: the mean of what a minimum is taken off, for m = 1.
struct GgmlBlock {
  int elements, bytes, d, m;
  double unit, middle;
};
constexpr GgmlBlock ggml_block(Format format) {
  switch (format) {
    case Format::q4_0:
      return {32, 18, 0, -1, 4.6, 0};
    case Format::q4_1:
      return {32, 20, 0, 2, 4.6, -7.5};
    case Format::q5_0:
      return {32, 22, 0, -1, 9.2, 0};
    case Format::q5_1:
      return {32, 24, 0, 2, 9.2, -15.5};
    case Format::iq4_nl:
      return {32, 18, 0, -1, 70, 0};
    case Format::gguf_mxfp4:
      return {32, 17, -1, -1, 1, 0};
    case Format::q2_k:
      return {256, 84, 80, 82, 14, 1.5};
    case Format::q3_k:
      return {256, 110, 108, -1, 43, 0};
    case Format::q4_k:
      return {256, 144, 0, 2, 250, 7.5};
    case Format::q5_k:
      return {256, 176, 0, 2, 520, 15.5};
    case Format::q6_k:
      return {256, 210, 208, -1, 1400, 0};
    case Format::iq4_xs:
      return {256, 136, 0, -1, 1300, 0};
    default:
      return {};
  }
}

/// Random bytes whose numbers have about the deviation `spread`.
template <class Random>
void draw_block(Format format, Random& random, double spread, std::uint8_t* to) {
  const GgmlBlock block = ggml_block(format);
  for (int i = 0; i < block.bytes; ++i) to[i] = std::uint8_t(random());
  const auto put = [&](int at, double x) {
    const auto rounded = round_to<ivl::half>(float(x));
    std::memcpy(to + at, &rounded, sizeof rounded);
  };
  const double d = spread / block.unit * (random() % 2 ? 1 : -1) * (1 + double(random() % 64) / 64);
  if (block.d >= 0) put(block.d, d);
  if (block.m >= 0) put(block.m, d * block.middle);
  if (format == Format::gguf_mxfp4) to[0] = std::uint8_t(125 + int(std::log2(spread)) + int(random() % 2));
}

/// Element k of the block at p. The only rounding is that of a difference, to a float.
inline double block_number(Format format, const std::uint8_t* p, int k) {
  const auto half_at = [&](int at) {
    ivl::half x;
    std::memcpy(&x, p + at, sizeof x);
    return double(to_float(x));
  };
  const auto bit = [](std::uint8_t byte, int at) { return byte >> at & 1; };
  const auto nibble = [&](int at) { return k < 16 ? p[at + k] & 15 : p[at + k - 16] >> 4; };  // of 32 elements
  constexpr int uneven[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  switch (format) {
    case Format::q4_0:
      return half_at(0) * (nibble(2) - 8);
    case Format::q4_1:
      return double(float(half_at(0) * nibble(4) + half_at(2)));
    case Format::q5_0:
      return half_at(0) * ((nibble(6) | bit(p[2 + k / 8], k % 8) << 4) - 16);
    case Format::q5_1:
      return double(float(half_at(0) * (nibble(8) | bit(p[4 + k / 8], k % 8) << 4) + half_at(2)));
    case Format::iq4_nl:
      return half_at(0) * uneven[nibble(2)];
    case Format::gguf_mxfp4: {
      constexpr int doubled[] = {0, 1, 2, 3, 4, 6, 8, 12};
      const int code = nibble(1);
      return std::ldexp(code & 8 ? -doubled[code & 7] : doubled[code & 7], p[0] - 128);
    }
    case Format::q2_k: {
      const int n = k / 128, r = k % 128, q = p[16 + 32 * n + r % 32] >> 2 * (r / 32) & 3;
      return double(float(half_at(80) * (p[k / 16] & 15) * q - half_at(82) * (p[k / 16] >> 4)));
    }
    case Format::q3_k: {
      const int n = k / 128, r = k % 128, j = k / 16;
      const int low = p[32 + 32 * n + r % 32] >> 2 * (r / 32) & 3, value = low - (bit(p[k % 32], k / 32) ? 0 : 4);
      const std::uint8_t* const s = p + 96;
      const int scale = ((j < 8 ? s[j] & 15 : s[j - 8] >> 4) | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
      return half_at(108) * scale * value;
    }
    case Format::q4_k:
    case Format::q5_k: {
      const std::uint8_t* const s = p + 4;
      const int i = k / 32, codes = format == Format::q4_k ? 16 : 48, byte = p[codes + 32 * (k / 64) + k % 32];
      const int scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
      const int minimum = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | s[i] >> 6 << 4;
      int q = i % 2 ? byte >> 4 : byte & 15;
      if (format == Format::q5_k) q += 16 * bit(p[16 + k % 32], i);
      return double(float(half_at(0) * scale * q - half_at(2) * minimum));
    }
    case Format::q6_k: {
      const int n = k / 128, r = k % 128, g = r / 32, l = r % 32, byte = p[64 * n + l + 32 * (g & 1)];
      const int q = (g < 2 ? byte & 15 : byte >> 4) | (p[128 + 32 * n + l] >> 2 * g & 3) << 4;
      return half_at(208) * std::int8_t(p[192 + k / 16]) * (q - 32);
    }
    case Format::iq4_xs: {
      const int b = k / 32, byte = p[8 + 16 * b + k % 16];
      const int high = (p[2] | p[3] << 8) >> 2 * b & 3, scale = (p[4 + b / 2] >> 4 * (b & 1) & 15) | high << 4;
      return half_at(0) * (scale - 32) * uneven[k % 32 < 16 ? byte & 15 : byte >> 4];
    }
    default:
      return 0;
  }
}

}  // namespace ivl_test
