// What tensors of a file will make once placed, without a backend's memory: the checks and sizes that backends share.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// A placed matrix without its memory, and the parts of each strip.
struct MatrixOutline {
  PlacedMatrix placed;
  struct Parts {
    int first = 0, count = 0;
  };
  std::array<Parts, PlacedMatrix::most_strips> parts{};
};

/// A plane of a matrix that holds what is not a number, and what that is.
struct NotANumber {
  std::size_t plane;
  const char* reason;
};

/// None where all are numbers, as far as the format's planes can hold others at all.
std::optional<NotANumber> find_not_a_number(const SourceMatrix& part);

/// Throws FileError for a part that holds what is not a number.
void check_numbers(const SourceMatrix& part);

/// The format in which a backend places a matrix of a file: its own, or f32 where it has no layout for it.
using PlacedAs = Format (*)(Format);

/// Neighbouring parts that are placed in one format become one strip. Throws FileError for parts that hold what is not
/// a number.
MatrixOutline outline_matrix(std::span<const SourceMatrix> parts, Fusion fusion, PlacedAs placed_as);

/// As outline_matrix, for each expert alike. Throws FileError where experts differ in format, too.
MatrixOutline outline_experts(int experts, Fusion fusion, std::span<const SourceMatrix> parts, PlacedAs placed_as);

/// Scalars of all parts of a vector. Throws FileError for types that cannot be placed.
std::int64_t vector_width(std::span<const TensorView> parts);

/// The parts as floats, one after the other: to [vector_width(parts)].
void join_as_floats(std::span<const TensorView> parts, float* to);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/ops/outline.ipp"
#endif
