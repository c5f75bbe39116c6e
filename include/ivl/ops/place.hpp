// Placing: a tensor of a file becomes a matrix, a vector or a table in a backend's own layout.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl {

/// How the parts of a fused matrix lie beside each other.
enum class Fusion : std::uint8_t {
  stacked,      ///< rows of part 0, then rows of part 1, ...
  interleaved,  ///< row 2j is row j of part 0 (gate), row 2j + 1 is row j of part 1 (up); two parts of one height
};

/// A matrix [out, in] in the backend's layout.
struct PlacedMatrix {
  Format format = Format::f32;
  Fusion fusion = Fusion::stacked;
  std::int64_t out = 0, in = 0;
  Memory memory;
};

/// A vector as floats (every file format converts exactly).
struct PlacedVector {
  std::int64_t width = 0;
  Memory memory;
  const float* data() const { return reinterpret_cast<const float*>(memory.data); }
};

/// Rows [rows, width] to be looked up one at a time, row-major, in the file's scalar.
struct PlacedTable {
  ScalarKind scalar = ScalarKind::f32;
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
///   place_matrix(ctx, parts, fusion)  parts: two-dimensional [rows, in] views of one dtype
///   place_vector(ctx, parts)          parts: one-dimensional (or [1, n]) views, joined
///   place_table(ctx, view)            a two-dimensional view
/// Dtypes other than F32, BF16, F16 throw FileError. Views are read completely before these return.
template <class Context>
concept PlaceOps =
    MemoryOps<Context> && requires(Context& ctx, std::span<const TensorView> parts, const TensorView& view) {
      { place_matrix(ctx, parts, Fusion::stacked) } -> std::same_as<PlacedMatrix>;
      { place_vector(ctx, parts) } -> std::same_as<PlacedVector>;
      { place_table(ctx, view) } -> std::same_as<PlacedTable>;
    };

}  // namespace ivl
