#include "ivl/formats/mxfp4.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace {

using namespace ivl;

/// What a code stands for, from its bits: sign, exponent (bias 1, 0 is subnormal), mantissa.
double formula(int code, int scale) {
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const double size = exponent == 0 ? mantissa * 0.5 : (1 + mantissa * 0.5) * std::ldexp(1.0, exponent - 1);
  return (code & 8 ? -size : size) * std::ldexp(1.0, scale - 127);
}

void dequantise_mxfp4(std::span<const std::byte> blocks, std::span<const std::byte> scales, std::span<float> to) {
  dequantise_row(source_matrix(Format::mxfp4, 1, std::int64_t(to.size()), {blocks, scales}), 0, to.data());
}

TEST_CASE("every code with every scale is exact, in float and once more in bfloat16") {
  int wrong = 0, wrong_signs = 0;
  for (int scale = 0; scale < 255; ++scale) {
    std::vector<std::byte> blocks;
    for (int j = 0; j < 16; ++j) blocks.push_back(std::byte(j | (15 - j) << 4));
    const std::byte scales[] = {std::byte(scale)};
    float values[32];
    dequantise_mxfp4(blocks, scales, values);
    for (int i = 0; i < 32; ++i) {
      const int code = i % 2 == 0 ? i / 2 : 15 - i / 2;
      const double want = formula(code, scale);
      // 2^128 and 2^129 are above the largest float.
      const float as_float = std::abs(want) >= 0x1p128 ? std::copysign(INFINITY, float(want)) : float(want);
      wrong += !(values[i] == as_float);
      wrong += std::abs(want) < 0x1p128 && double(values[i]) != want;
      wrong += to_float(round_to<bf16>(values[i])) != values[i];
      wrong_signs += std::signbit(values[i]) != (code >= 8);
    }
  }
  CHECK(wrong == 0);
  CHECK(wrong_signs == 0);
}

TEST_CASE("the scale 255 is not a number, whatever the code") {
  std::vector<std::byte> blocks;
  for (int j = 0; j < 16; ++j) blocks.push_back(std::byte(j | j << 4));
  const std::byte scales[] = {std::byte(255)};
  float values[32];
  dequantise_mxfp4(blocks, scales, values);
  for (const float value : values) CHECK(std::isnan(value));
}

TEST_CASE("the low four bits of a byte come first, and each block has its own scale") {
  // Two blocks; the published example: 0x1a with scale 127 is -1 and then 0.5.
  std::vector<std::byte> blocks(32, std::byte{0});
  blocks[0] = std::byte{0x1a};
  blocks[16 + 15] = std::byte{0x7f};
  const std::byte scales[] = {std::byte{127}, std::byte{130}};
  std::vector<float> values(64);
  dequantise_mxfp4(blocks, scales, values);
  CHECK(values[0] == -1);
  CHECK(values[1] == 0.5f);
  CHECK(values[62] == -48);
  CHECK(values[63] == 48);
  for (std::size_t i = 2; i < 62; ++i) CHECK(values[i] == 0);
}

}  // namespace
