#include "ivl/formats/quantise.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/formats/ggml.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

constexpr std::uint64_t float_step = 0x9e3779b97f4a7c15;

constexpr std::uint64_t mixed_word(std::uint64_t word) {
  word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
  word = (word ^ word >> 27) * 0x94d049bb133111eb;
  return word ^ word >> 31;
}

/// As tests/golden/make_ggml.py draws them.
std::vector<float> drawn_floats(std::size_t blocks) {
  std::vector<float> floats(32 * blocks);
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const std::size_t block = i / 32;
    float x = float(mixed_word((i + 1) * float_step) >> 40) / float(1 << 23) - 1;
    if (block % 4 == 0) x = std::floor(x * 16) / 16;
    if (block % 16 == 0) x = 0;
    floats[i] = std::ldexp(x, int(block % 9) - 6);
  }
  return floats;
}

std::vector<float> floats_again(GgmlType type, std::span<const std::byte> blocks) {
  const std::int64_t in = block_elements(type), out = std::int64_t(blocks.size()) / block_bytes(type);
  std::vector<float> floats(std::size_t(out * in));
  dequantise_rows(type, blocks, out, in, floats.data());
  return floats;
}

/// About a normal distribution, as weights have it, with an outlier now and then.
std::vector<float> bell_floats(std::size_t count, std::uint64_t seed) {
  std::vector<float> floats(count);
  for (std::size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (std::uint64_t j = 0; j < 8; ++j)
      sum += float(mixed_word((8 * i + j + 1) * float_step ^ seed) >> 40) / float(1 << 23) - 1;
    floats[i] = sum * (mixed_word(i ^ seed) % 200 == 0 ? 0.1f : 0.02f);
  }
  return floats;
}

double squared_error(std::span<const float> a, std::span<const float> b) {
  double error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) error += double(a[i] - b[i]) * double(a[i] - b[i]);
  return error;
}

double error_of_type(GgmlType type, std::span<const float> x) {
  return squared_error(x, floats_again(type, quantise_rows(type, x)));
}

/// The error of a block whose runs have `most + 1` codes from their lowest number, at most 0, to their highest, where
/// scale and minimum are six bits of the block's largest: what anybody would write first.
double naive_affine_error(std::span<const float> x, int most) {
  double error = 0;
  for (std::size_t block = 0; block < x.size(); block += 256) {
    float scales[8], minima[8], largest_scale = 0, largest_minimum = 0;
    for (std::size_t run = 0; run < 8; ++run) {
      const auto [low, high] = std::ranges::minmax(x.subspan(block + 32 * run, 32));
      minima[run] = -std::min(low, 0.0f);
      scales[run] = (std::max(high, -minima[run]) + minima[run]) / float(most);
      largest_scale = std::max(largest_scale, scales[run]);
      largest_minimum = std::max(largest_minimum, minima[run]);
    }
    const float d = to_float(round_to<half>(largest_scale / 63)), dmin = to_float(round_to<half>(largest_minimum / 63));
    for (std::size_t k = 0; k < 256; ++k) {
      const float s = d * std::min(std::nearbyint(scales[k / 32] / d), 63.0f);
      const float m = dmin > 0 ? dmin * std::min(std::nearbyint(minima[k / 32] / dmin), 63.0f) : 0;
      const float number = x[block + k];
      const float q = s > 0 ? std::clamp(std::nearbyint((number + m) / s), 0.0f, float(most)) : 0;
      error += std::pow(double(s) * double(q) - double(m) - double(number), 2);
    }
  }
  return error;
}

double naive_q6_k_error(std::span<const float> x) {
  double error = 0;
  for (std::size_t block = 0; block < x.size(); block += 256) {
    float scales[16], largest = 0;
    for (std::size_t run = 0; run < 16; ++run) {
      scales[run] = 0;
      for (const float number : x.subspan(block + 16 * run, 16))
        if (std::abs(number) > std::abs(32 * scales[run])) scales[run] = number / -32;
      if (std::abs(scales[run]) > std::abs(largest)) largest = scales[run];
    }
    const float d = to_float(round_to<half>(largest / -128));
    for (std::size_t k = 0; k < 256; ++k) {
      const float s = d * std::clamp(std::nearbyint(scales[k / 16] / d), -128.0f, 127.0f);
      const float q = s != 0 ? std::clamp(std::nearbyint(x[block + k] / s), -32.0f, 31.0f) : 0;
      error += std::pow(double(s) * double(q) - double(x[block + k]), 2);
    }
  }
  return error;
}

TEST_CASE("blocks of 32 are those that the gguf package makes, to the bit") {
  const Json golden = read_json(std::string(IVL_SOURCE_DIR) + "/tests/golden/ggml/quantised.json");
  const std::vector<float> floats = drawn_floats(golden.at("blocks").get<std::size_t>());
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q5_0, GgmlType::q5_1, GgmlType::q8_0, GgmlType::mxfp4}) {
    CAPTURE(name_of(type));
    const std::vector<std::byte> blocks = quantise_rows(type, floats);
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i)
      hash += mixed_word((i + 1) * float_step ^ std::to_integer<std::uint64_t>(blocks[i]));
    CHECK(hash == std::stoull(golden.at("hashes").at(std::string(name_of(type))).get<std::string>(), nullptr, 16));
  }
}

TEST_CASE("K-quants lose at most what plain rounding loses, block by block") {
  for (const std::vector<float>& floats : {bell_floats(256 * 100, 1), drawn_floats(800)}) {
    for (std::size_t block = 0; block < floats.size(); block += 256) {
      CAPTURE(block);
      const auto x = std::span(floats).subspan(block, 256);
      const double rounding = 1 + 1e-4;  // of the sums in float by which the quantiser chooses
      CHECK(error_of_type(GgmlType::q4_k, x) <= naive_affine_error(x, 15) * rounding);
      CHECK(error_of_type(GgmlType::q5_k, x) <= naive_affine_error(x, 31) * rounding);
      CHECK(error_of_type(GgmlType::q6_k, x) <= naive_q6_k_error(x) * rounding);
    }
  }
}

TEST_CASE("the search gains on plain rounding, and more bits on fewer") {
  const std::vector<float> x = bell_floats(256 * 200, 2);
  const double power = squared_error(x, std::vector<float>(x.size()));
  double last = 1;
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q4_k, GgmlType::q5_0, GgmlType::q5_k, GgmlType::q6_k,
                              GgmlType::q8_0, GgmlType::f16}) {
    const double error = std::sqrt(error_of_type(type, x) / power);
    CAPTURE(name_of(type));
    CHECK(error < last);
    last = error;
  }
  CHECK(error_of_type(GgmlType::q4_k, x) < 0.9 * naive_affine_error(x, 15));
  CHECK(error_of_type(GgmlType::q5_k, x) < 0.95 * naive_affine_error(x, 31));
  CHECK(error_of_type(GgmlType::q6_k, x) < 0.95 * naive_q6_k_error(x));
}

TEST_CASE("what a block holds exactly it holds again") {
  for (const GgmlType type :
       {GgmlType::q4_0, GgmlType::q5_0, GgmlType::q8_0, GgmlType::mxfp4, GgmlType::f16, GgmlType::bf16}) {
    CAPTURE(name_of(type));
    // The floats, not the bytes: the scale of a block of zeros has either sign.
    const std::vector<float> once = floats_again(type, quantise_rows(type, drawn_floats(1000)));
    CHECK(floats_again(type, quantise_rows(type, once)) == once);
  }
  // Codes of equal distance, from 0 on: each scale that is tried first is the right one.
  for (const GgmlType type : {GgmlType::q4_k, GgmlType::q5_k, GgmlType::q6_k}) {
    CAPTURE(name_of(type));
    std::vector<float> x(256);
    for (std::size_t k = 0; k < x.size(); ++k) x[k] = 0.5f * (float(k % 16) - (type == GgmlType::q6_k ? 32 : 0));
    CHECK(error_of_type(type, x) == doctest::Approx(0).epsilon(1e-4 * 64));
    CHECK(error_of_type(type, std::vector<float>(256)) == 0);
  }
}

TEST_CASE("what no block holds is refused by name") {
  std::vector<float> x(256, 1);
  const auto error = [&](GgmlType type, std::size_t count = 256) {
    return test::error_of<FileError>([&] { quantise_rows(type, std::span(x).first(count)); });
  };
  CHECK(error(GgmlType::q2_k) ==
        "cannot quantise to q2_k: expected f32, f16, bf16, q4_0, q5_0, q5_1, q8_0, q4_k, q5_k, q6_k or mxfp4");
  CHECK(error(GgmlType::q4_k, 96) == "cannot quantise to q4_k: expected whole blocks of 256, found 96 numbers");
  x[200] = 1e30f;
  CHECK(error(GgmlType::q8_0).ends_with("beyond what f16 holds"));
  CHECK(error(GgmlType::q6_k).ends_with("beyond what f16 holds"));
  CHECK(error(GgmlType::mxfp4).empty());
  x[200] = std::numeric_limits<float>::infinity();
  CHECK(error(GgmlType::q4_k) == "cannot quantise to q4_k: expected finite numbers, found inf");
  CHECK(error(GgmlType::bf16).empty());
}

}  // namespace
