// A matrix of any format with random codes and moderate scales, as a file holds it, and the floats that it means.
// tests/formats and tests/model compare `dequantise` with numpy and with the gguf package.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <span>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl_test {

using namespace ivl;

/// [out, in]; outputs are a multiple of 8, inputs of whole blocks.
class DrawnMatrix {
 public:
  Format format;
  int out, in;
  std::vector<float> numbers;  ///< [out][in]

  DrawnMatrix(Format format, int out, int in, unsigned seed)
      : format(format), out(out), in(in), bytes_(1 + std::size_t(packed_planes(format, out, in).total)) {
    std::mt19937 random(seed);
    for (std::byte& byte : bytes_) byte = std::byte(random() & 255);
    const PackedPlanes planes = packed_planes(format, out, in);
    with_format(format, [&](auto tag) {
      using F = decltype(tag);
      for (std::size_t p = 0; p < std::size(F::planes); ++p) {
        const std::span plane =
            std::span(bytes_).subspan(1 + std::size_t(planes.begin[p]), std::size_t(planes.bytes[p]));
        draw_plane<F>(p, plane, random);
      }
    });
    for (int row = 0; row < out; ++row) {
      numbers.resize(numbers.size() + std::size_t(in));
      dequantise_row(source(), row, numbers.data() + std::ptrdiff_t(row) * in);
    }
  }

  float at(int o, int k) const { return numbers[std::size_t(o) * std::size_t(in) + std::size_t(k)]; }
  /// Its planes are at odd addresses.
  SourceMatrix source() const { return packed_source(format, out, in, bytes_.data() + 1); }

 private:
  /// Of either sign where it may be, and never a round number.
  template <class Scalar, class Random>
  static Scalar drawn_scale(Random& random, bool with_sign) {
    const float size = (1 + float(random() % 1024) / 1024) / 64;
    return round_to<Scalar>(with_sign && random() % 2 ? -size : size);
  }

  /// The bytes are random already.
  template <class F, class Random>
  static void draw_plane(std::size_t p, std::span<std::byte> plane, Random& random) {
    const auto each = [&]<class Cell>(Cell, const auto& change) {
      for (std::size_t at = 0; at < plane.size(); at += sizeof(Cell)) {
        Cell cell;
        std::memcpy(&cell, plane.data() + at, sizeof cell);
        change(cell);
        std::memcpy(plane.data() + at, &cell, sizeof cell);
      }
    };
    if constexpr (requires { typename F::Block; }) {
      each(typename F::Block{}, [&](auto& block) { draw_scales(block, random); });
    } else if constexpr (requires { typename F::Scalar; }) {
      each(typename F::Scalar{}, [&](auto& x) { x = drawn_scale<typename F::Scalar>(random, true); });
    } else if constexpr (requires { typename F::Scale; }) {
      if (p == F::scale_plane)
        each(typename F::Scale{}, [&](auto& x) { x = drawn_scale<typename F::Scale>(random, true); });
    }
    if constexpr (requires { F::refused; }) {
      for (const Refused& refused : F::refused) {
        if (refused.plane == p) std::ranges::replace(plane, refused.value, std::byte{0x55});
      }
      if (std::size(F::planes) == 2 && p == 1 && F::planes[1].bytes == 1)  // powers of two
        for (std::byte& byte : plane) byte = std::byte(120 + random() % 16);
    }
  }
  template <class Block, class Random>
  static void draw_scales(Block& block, Random& random) {
    if constexpr (requires { block.d; }) block.d = drawn_scale<ivl::half>(random, true);
    if constexpr (requires { block.dmin; }) block.dmin = drawn_scale<ivl::half>(random, true);
    if constexpr (requires { block.m; }) block.m = drawn_scale<ivl::half>(random, true);
    if constexpr (requires { block.scale; }) block.scale = std::uint8_t(120 + random() % 16);
    if constexpr (std::is_same_v<Block, Iq1M::Block>) {  // four bits of d in each word
      const unsigned bits = drawn_scale<ivl::half>(random, true).bits;
      for (int word = 0; word < 4; ++word)
        block.scales[word] = std::uint16_t((block.scales[word] & 0xfff) | (bits >> 4 * word & 15) << 12);
    }
  }

  std::vector<std::byte> bytes_;
};

}  // namespace ivl_test
