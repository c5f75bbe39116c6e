// Placing: a tensor of a file becomes a matrix, a vector or a table in a backend's own layout, in the file's format.
#pragma once
#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>

#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl {

/// How the parts of a fused matrix lie beside each other.
enum class Fusion : std::uint8_t {
  stacked,      ///< rows of part 0, then rows of part 1, ...
  interleaved,  ///< row 2j is row j of part 0 (gate), row 2j + 1 is row j of part 1 (up); two parts of one height
};

/// Whether a backend may round the numbers of a matrix further, such as to 8 bits where its context says so.
enum class Rounding : std::uint8_t {
  as_context_says,
  none,  ///< a router's: its least logits decide which experts a row meets
};

/// Some outputs of a placed matrix, all in one format.
struct Strip {
  Format format = Format::f32;
  std::int64_t first = 0,
               out = 0;    ///< outputs [first, first + out); in a matrix whose gate and up are strips, its half
  std::int64_t bytes = 0;  ///< of one matrix: those of experts lie one after the other
  Memory memory;
};

/// A matrix [out, in] in the backend's layout: one strip, or several where a file stores q, k, v or gate, up in
/// different formats.
struct PlacedMatrix {
  static constexpr int most_strips = 3;
  Fusion fusion = Fusion::stacked;
  std::int64_t out = 0, in = 0;
  int strip_count = 0;
  std::array<Strip, most_strips> strips{};

  PlacedMatrix() = default;
  /// One strip.
  PlacedMatrix(Format format, Fusion fusion, std::int64_t out, std::int64_t in, Memory memory)
      : fusion(fusion), out(out), in(in), strip_count(1) {
    const auto bytes = std::int64_t(memory.bytes);
    strips[0] = {format, 0, out, bytes, std::move(memory)};
  }

  bool uniform() const { return strip_count == 1; }
  /// Of a matrix that is one strip.
  Format format() const { return only().format; }
  const Memory& memory() const { return only().memory; }
  /// Gate and up of Fusion::interleaved lie apart, since their formats differ.
  bool split() const { return fusion == Fusion::interleaved && strip_count == 2; }

 private:
  const Strip& only() const {
    assert(strip_count == 1);
    return strips[0];
  }
};

/// "bf16", or "bf16, q8_0": those of its strips, for messages.
inline std::string formats_of(const PlacedMatrix& w) {
  std::string text;
  for (int i = 0; i < w.strip_count; ++i)
    text += (i > 0 ? ", " : "") + std::string(name_of(w.strips[std::size_t(i)].format));
  return text;
}

/// A vector as floats (every file format converts exactly).
struct PlacedVector {
  std::int64_t width = 0;
  Memory memory;
  const float* data() const { return reinterpret_cast<const float*>(memory.data); }
};

/// Rows [rows, width] to be looked up one at a time: the planes of the file's format, as packed_planes has them.
struct PlacedTable {
  Format format = Format::f32;
  std::int64_t rows = 0, width = 0;
  Memory memory;
};

/// Heights of the pieces in which files may store one weight: three for q, k and v, or all of them as one tensor.
struct FileParts {
  int count = 0;
  std::array<int, 3> heights{};
  constexpr FileParts(std::initializer_list<int> parts) {
    for (const int height : parts) heights[std::size_t(count++)] = height;
  }
};

/// A placed matrix of known shape. `Out` is `dynamic` where the vocabulary decides.
template <int Out, int In>
struct Weight {
  static constexpr int out = Out, in = In;
  PlacedMatrix placed;
};

/// A placed vector of known width; empty (`data()` null) where a checkpoint has none, such as an absent bias.
template <int Width>
struct Vector {
  static constexpr int width = Width;
  PlacedVector placed;
  const float* data() const { return placed.data(); }
};

/// A placed lookup table whose number of rows the file decides.
template <int Width>
struct Table {
  static constexpr int width = Width;
  PlacedTable placed;
};

/// What a backend offers:
///   place_matrix(ctx, parts, fusion)  parts of one width: up to three stacked, or gate and up
///   place_vector(ctx, parts)          parts: one-dimensional (or [1, n]) views, joined
///   place_table(ctx, rows)
/// Formats that a backend does not take throw FileError, as do vectors of types other than F32, BF16, F16. What is
/// placed has been read completely when these return.
template <class Context>
concept PlaceOps = MemoryOps<Context> && requires(Context& ctx, std::span<const SourceMatrix> parts,
                                                  std::span<const TensorView> views, const SourceMatrix& rows) {
  { place_matrix(ctx, parts, Fusion::stacked) } -> std::same_as<PlacedMatrix>;
  { place_vector(ctx, views) } -> std::same_as<PlacedVector>;
  { place_table(ctx, rows) } -> std::same_as<PlacedTable>;
};

/// A backend whose contexts may round offers place_exact_matrix(ctx, parts, fusion), too.
template <PlaceOps Context>
PlacedMatrix place_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion, Rounding rounding) {
  if constexpr (requires { place_exact_matrix(ctx, parts, fusion); }) {
    if (rounding == Rounding::none) return place_exact_matrix(ctx, parts, fusion);
  }
  return place_matrix(ctx, parts, fusion);
}

}  // namespace ivl
