// A matrix in any weight format, as a file holds it and as numbers that come from the format's formula, not from its
// code.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "tests/support/ggml_blocks.hpp"

namespace ivl_test {

using namespace ivl;

/// Those that the CPU multiplies as they are stored.
inline constexpr Format every_format[] = {
    Format::f32,  Format::bf16, Format::f16,  Format::mxfp4, Format::q8_0,   Format::awq,
    Format::q4_0, Format::q4_1, Format::q5_0, Format::q5_1,  Format::iq4_nl, Format::gguf_mxfp4,
    Format::q2_k, Format::q3_k, Format::q4_k, Format::q5_k,  Format::q6_k,   Format::iq4_xs};

/// Inputs that share a scale, or of a format of blocks, a block.
constexpr int block_of(Format format) {
  if (const int elements = ggml_block(format).elements; elements > 0) return elements;
  return format == Format::awq ? 128 : format == Format::mxfp4 || format == Format::q8_0 ? 32 : 1;
}

/// [out, in]; outputs are a multiple of 8, inputs of the format's block.
class FileMatrix {
 public:
  Format format;
  int out, in;
  std::vector<double> numbers;  ///< [out][in]

  /// Numbers of about the deviation `spread`, every code and both signs among them.
  template <class Random>
  FileMatrix(Format format, int out, int in, Random& random, double spread = 1) : FileMatrix(format, out, in) {
    if (const int bytes = ggml_block(format).bytes; bytes > 0) {
      for (std::size_t at = 0; at < blocks_.size(); at += std::size_t(bytes))
        draw_block(format, random, spread, blocks_.data() + at);
      encode();
      return;
    }
    std::normal_distribution<float> normal(0, float(spread));
    const int block = block_of(format);
    for (int o = 0; o < out; ++o) {
      for (int k = 0; k < in; ++k) {
        const std::size_t at = std::size_t(o) * std::size_t(in) + std::size_t(k), b = at / std::size_t(block);
        if (k % block == 0) {  // the block's scale and zero point
          if (format == Format::mxfp4) scales_[b] = std::uint16_t(126 + int(std::log2(spread)) + int(random() % 2));
          if (format == Format::q8_0) scales_[b] = half_bits(spread / 74 * (random() % 2 ? 1 : -1));
          if (format == Format::awq) scales_[b] = half_bits(spread / 6);
          zeros_[b] = std::uint8_t(random() % 16);
        }
        const float drawn = normal(random);
        switch (format) {
          case Format::f32:
            std::memcpy(&codes_[at], &drawn, sizeof drawn);
            break;
          case Format::bf16:
            codes_[at] = round_to<bf16>(drawn).bits;
            break;
          case Format::f16:
            codes_[at] = round_to<ivl::half>(drawn).bits;
            break;
          case Format::q8_0:
            codes_[at] = random() % 256;
            break;
          case Format::mxfp4:
          case Format::awq:
            codes_[at] = random() % 16;
            break;
          default:
            break;
        }
      }
    }
    encode();
  }

  double at(int o, int k) const { return numbers[std::size_t(o) * std::size_t(in) + std::size_t(k)]; }
  /// Its planes are at odd addresses.
  SourceMatrix source() const {
    const auto bytes = [&](std::size_t p) { return std::span(planes_[p]).subspan(1); };
    if (format == Format::awq) return source_matrix(format, out, in, {bytes(0), bytes(1), bytes(2)});
    if (format == Format::mxfp4) return source_matrix(format, out, in, {bytes(0), bytes(1)});
    return source_matrix(format, out, in, {bytes(0)});
  }
  /// A file of rows first, first + step, ...
  FileMatrix rows(int first, int step, int number) const {
    FileMatrix some(format, number, in);
    const int blocks = in / block_of(format);
    for (int o = 0; o < number; ++o) {
      const int from = first + o * step;
      const std::size_t bytes = blocks_.size() / std::size_t(out);
      std::copy_n(blocks_.begin() + std::ptrdiff_t(std::size_t(from) * bytes), bytes,
                  some.blocks_.begin() + std::ptrdiff_t(std::size_t(o) * bytes));
      for (int k = 0; k < in; ++k) some.codes_[std::size_t(o * in + k)] = codes_[std::size_t(from * in + k)];
      for (int b = 0; b < blocks; ++b) {
        some.scales_[std::size_t(o * blocks + b)] = scales_[std::size_t(from * blocks + b)];
        some.zeros_[std::size_t(o * blocks + b)] = zeros_[std::size_t(from * blocks + b)];
      }
    }
    some.encode();
    return some;
  }

 private:
  FileMatrix(Format format, int out, int in)
      : format(format),
        out(out),
        in(in),
        codes_(std::size_t(out) * std::size_t(in)),
        scales_(codes_.size() / std::size_t(block_of(format))),
        zeros_(scales_.size()),
        blocks_(scales_.size() * std::size_t(ggml_block(format).bytes)) {}

  static std::uint16_t half_bits(double x) { return round_to<ivl::half>(float(x)).bits; }

  double number(std::size_t at) const {
    const std::uint32_t code = codes_[at];
    const std::size_t b = at / std::size_t(block_of(format));
    const auto scale = [&] { return double(to_float(ivl::half{scales_[b]})); };
    if (!blocks_.empty()) {
      const auto block = std::size_t(block_of(format));
      return block_number(format, blocks_.data() + b * std::size_t(ggml_block(format).bytes), int(at % block));
    }
    switch (format) {
      case Format::f32: {
        float x;
        std::memcpy(&x, &code, sizeof x);
        return double(x);
      }
      case Format::bf16:
        return double(to_float(bf16{std::uint16_t(code)}));
      case Format::f16:
        return double(to_float(ivl::half{std::uint16_t(code)}));
      case Format::mxfp4: {
        constexpr double sizes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
        return std::ldexp(code & 8 ? -sizes[code & 7] : sizes[code & 7], scales_[b] - 127);
      }
      case Format::q8_0:
        return scale() * double(code < 128 ? int(code) : int(code) - 256);
      case Format::awq:
        return (double(code) - zeros_[b]) * scale();
      default:
        return 0;
    }
  }

  void put(std::size_t plane, std::size_t at, const void* from, std::size_t bytes) {
    std::memcpy(planes_[plane].data() + 1 + at, from, bytes);
  }
  void encode() {
    numbers.clear();
    for (std::size_t i = 0; i < codes_.size(); ++i) numbers.push_back(number(i));
    const std::size_t all = codes_.size(), blocks = scales_.size();
    const auto make = [&](std::size_t bytes) { planes_.emplace_back(bytes + 1, std::byte{0}); };
    planes_.clear();
    if (!blocks_.empty()) {
      make(blocks_.size());
      put(0, 0, blocks_.data(), blocks_.size());
      return;
    }
    switch (format) {
      case Format::f32:
        make(4 * all);
        for (std::size_t i = 0; i < all; ++i) put(0, 4 * i, &codes_[i], 4);
        return;
      case Format::bf16:
      case Format::f16:
        make(2 * all);
        for (std::size_t i = 0; i < all; ++i) put(0, 2 * i, &codes_[i], 2);
        return;
      case Format::mxfp4:
        make(all / 2);
        make(blocks);
        for (std::size_t i = 0; i < all; i += 2) {
          const auto two = std::uint8_t(codes_[i] | codes_[i + 1] << 4);
          put(0, i / 2, &two, 1);
        }
        for (std::size_t i = 0; i < blocks; ++i) put(1, i, &scales_[i], 1);
        return;
      case Format::q8_0:
        make(34 * blocks);
        for (std::size_t i = 0; i < all; ++i) put(0, i / 32 * 34 + 2 + i % 32, &codes_[i], 1);
        for (std::size_t i = 0; i < blocks; ++i) put(0, i * 34, &scales_[i], 2);
        return;
      case Format::awq: {
        // Nibble i of word c holds column 8c + order[i].
        constexpr int order[] = {0, 2, 4, 6, 1, 3, 5, 7};
        const auto words = static_cast<std::size_t>(out / 8), outs = static_cast<std::size_t>(out),
                   ins = static_cast<std::size_t>(in), groups = ins / 128;
        make(all / 2);
        make(2 * blocks);
        make(blocks / 2);
        const auto word_of = [&](const auto& of_column) {
          std::uint32_t word = 0;
          for (int i = 0; i < 8; ++i) word |= std::uint32_t(of_column(std::size_t(order[i]))) << 4 * i;
          return word;
        };
        for (std::size_t c = 0; c < words; ++c) {
          for (std::size_t k = 0; k < ins; ++k) {
            const std::uint32_t word = word_of([&](std::size_t j) { return codes_[(8 * c + j) * ins + k]; });
            put(0, 4 * (k * words + c), &word, 4);
          }
          for (std::size_t g = 0; g < groups; ++g) {
            const std::uint32_t word = word_of([&](std::size_t j) { return zeros_[(8 * c + j) * groups + g]; });
            put(2, 4 * (g * words + c), &word, 4);
          }
        }
        for (std::size_t o = 0; o < outs; ++o) {
          for (std::size_t g = 0; g < groups; ++g) put(1, 2 * (g * outs + o), &scales_[o * groups + g], 2);
        }
        return;
      }
      default:
        return;
    }
  }

  std::vector<std::uint32_t> codes_;   // [out][in], a scalar's bits
  std::vector<std::uint16_t> scales_;  // [out][in / block], a half's bits or e8m0
  std::vector<std::uint8_t> zeros_;    // [out][in / block]
  std::vector<std::uint8_t> blocks_;   // [out][in / block] blocks of ggml; the others are unused then
  std::vector<std::vector<std::byte>> planes_;
};

}  // namespace ivl_test
