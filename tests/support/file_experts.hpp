// Experts' matrices as files hold them, and as numbers that nothing has rounded.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "tests/support/file_matrix.hpp"

namespace ivl_test {

using namespace ivl;

template <class Scalar>
std::span<const std::byte> bytes_of(const std::vector<Scalar>& values) {
  return std::as_bytes(std::span(values));
}

/// The matrices [experts][out][in] of one layer's experts, as a file holds them and as numbers. `Stored`: a scalar, or
/// the tag Mxfp4.
template <class Stored>
struct FileExperts {
  int experts, out, in;
  std::vector<double> numbers;  ///< interleaved gate and up, as in ops/moe.hpp
  std::vector<Stored> fused;    ///< [experts][in][out]
  std::vector<std::uint8_t> blocks, scales;

  /// Scalars have the deviation spread / sqrt(in).
  template <class Random>
  FileExperts(int experts, int out, int in, Random& random, float spread = 1)
      : experts(experts), out(out), in(in), numbers(std::size_t(experts * out * in)) {
    if constexpr (std::is_same_v<Stored, Mxfp4>) {
      blocks.resize(numbers.size() / 2);
      scales.resize(numbers.size() / 32);
      for (std::uint8_t& scale : scales) scale = std::uint8_t(123 + random() % 4);
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const unsigned code = random() % 16;
        blocks[i / 2] = std::uint8_t(blocks[i / 2] | code << i % 2 * 4);
        numbers[i] = double(e2m1_values[code]) * std::ldexp(1.0, scales[i / 32] - 127);
      }
    } else {
      std::normal_distribution<float> normal(0, spread / std::sqrt(float(in)));
      fused.resize(numbers.size());
      for (int e = 0; e < experts; ++e) {
        for (int o = 0; o < out; ++o) {
          for (int k = 0; k < in; ++k) {
            Stored& stored = fused[std::size_t((e * in + k) * out + o)];
            numbers[std::size_t((e * out + o) * in + k)] = double(to_float(stored = round_to<Stored>(normal(random))));
          }
        }
      }
    }
  }
  double at(int e, int o, int k) const { return numbers[std::size_t((e * out + o) * in + k)]; }

  /// Expert `e`, as GPT-OSS's files hold it.
  SourceMatrix source(int e) const {
    const auto of_expert = [&](std::span<const std::byte> all) {
      const std::size_t bytes = all.size() / std::size_t(experts);
      return all.subspan(std::size_t(e) * bytes, bytes);
    };
    if constexpr (std::is_same_v<Stored, Mxfp4>) {
      return source_matrix(Format::mxfp4, out, in, {of_expert(bytes_of(blocks)), of_expert(bytes_of(scales))});
    } else {
      return source_matrix(format_of(kind_of<Stored>), out, in, {of_expert(bytes_of(fused))}, SourceOrder::transposed);
    }
  }
  template <class Context>
  PlacedExperts place(Context& ctx, Fusion fusion) const {
    std::vector<SourceMatrix> parts;
    for (int e = 0; e < experts; ++e) {
      if (fusion == Fusion::interleaved) {
        parts.push_back(source(e).every_other(0));
        parts.push_back(source(e).every_other(1));
      } else {
        parts.push_back(source(e));
      }
    }
    return place_experts(ctx, experts, fusion, parts);
  }

  /// The same, of files that hold each expert's gate, up and down on their own.
  template <class Context>
  PlacedExperts place_separate(Context& ctx, Fusion fusion) const {
    const int parts_of_each = fusion == Fusion::interleaved ? 2 : 1, height = out / parts_of_each;
    std::vector<std::vector<Stored>> files;
    std::vector<SourceMatrix> parts;
    for (int e = 0; e < experts; ++e) {
      for (int part = 0; part < parts_of_each; ++part) {
        files.emplace_back();
        for (int o = 0; o < height; ++o) {
          for (int k = 0; k < in; ++k)
            files.back().push_back(fused[std::size_t((e * in + k) * out + o * parts_of_each + part)]);
        }
      }
    }
    for (const auto& file : files)
      parts.push_back(source_matrix(format_of(kind_of<Stored>), height, in, {bytes_of(file)}));
    return place_experts(ctx, experts, fusion, parts);
  }
};

/// Gate in one format and up in another; down in that of gate.
template <Format gate, Format up>
struct Formats {};

template <Format gate_format, Format up_format>
struct FileExperts<Formats<gate_format, up_format>> {
  int experts, out, in;
  std::vector<FileMatrix> gates, ups, wholes;

  template <class Random>
  FileExperts(int experts, int out, int in, Random& random) : experts(experts), out(out), in(in) {
    for (int e = 0; e < experts; ++e) {
      gates.emplace_back(gate_format, out / 2, in, random, 1 / std::sqrt(double(in)));
      ups.emplace_back(up_format, out / 2, in, random, 1 / std::sqrt(double(in)));
      wholes.emplace_back(gate_format, out, in, random, 1 / std::sqrt(double(in)));
    }
  }
  template <class Context>
  PlacedExperts place(Context& ctx, Fusion fusion) {
    interleaved = fusion == Fusion::interleaved;
    std::vector<SourceMatrix> parts;
    for (std::size_t e = 0; e < std::size_t(experts); ++e) {
      if (interleaved) {
        parts.push_back(gates[e].source());
        parts.push_back(ups[e].source());
      } else {
        parts.push_back(wholes[e].source());
      }
    }
    return place_experts(ctx, experts, fusion, parts);
  }
  /// As it was placed.
  double at(int e, int o, int k) const {
    if (!interleaved) return wholes[std::size_t(e)].at(o, k);
    return (o % 2 == 0 ? gates : ups)[std::size_t(e)].at(o / 2, k);
  }
  bool interleaved = false;
};

}  // namespace ivl_test
