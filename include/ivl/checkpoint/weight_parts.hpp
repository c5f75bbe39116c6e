// The parts of a weight that was bound in any shape, whatever tensors hold them. Bodies alone include this
// (write_gguf.ipp, widen_weight.hpp), so its own stay here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::detail {

inline const TensorView& first_view(const BoundWeight& weight) { return *weight.pieces[0].planes[0].found; }

/// Vectors, the convolution of the patches, and tables that are one parameter.
inline bool is_column(const BoundWeight& weight) {
  const Naming naming = weight.name.part->naming;
  const int rank = first_view(weight).shape.rank();
  return weight.name.bias || naming == Naming::bare || rank < 2 ||
         rank == 4 * (weight.pieces[0].form.as == StoredAs::scalars);
}

/// Sets the sizes of a matrix that was bound in any shape.
inline void set_sizes(BoundWeight& weight, int experts) {
  const bool mixture = std::string_view(weight.name.part->part).starts_with("experts.");
  weight.slot.experts = mixture ? experts : 0;
  for (BoundPiece& piece : weight.pieces) {
    const Shape& shape = piece.planes[0].found->shape;
    const int first = mixture && piece.expert < 0 ? 1 : 0;
    if (shape.rank() < first + 2)
      fail<FileError>(piece.planes[0].name, ": expected a matrix, found ", shape_text(shape));
    const std::int64_t a = shape[first], b = shape[first + 1];
    const bool inputs_first = piece.transposed() || piece.form.as == StoredAs::awq;
    const bool packed = piece.form.as == StoredAs::int4 || piece.form.as == StoredAs::int4_zeros;
    piece.height = piece.form.as == StoredAs::awq ? 8 * b : inputs_first ? b : a;
    weight.slot.in = int(piece.form.as == StoredAs::mxfp4 ? 32 * b : inputs_first ? a : packed ? 8 * b : b);
  }
}

/// The slots of a binding in any shape, with the sizes that its tensors say: bound again, they are checked as those of
/// a model are. Throws FileError.
inline std::vector<WeightSlot> sized_slots(Binding any_shape, int experts) {
  std::vector<WeightSlot> slots;
  for (BoundWeight& weight : any_shape.weights) {
    WeightSlot& slot = weight.slot;
    const bool column = is_column(weight);
    if (!column) set_sizes(weight, experts);
    if (column && weight.pieces.size() == 1) slot.shape = first_view(weight).shape;
    for (std::size_t part = 0; part < slot.heights.size(); ++part) {
      const BoundPiece& piece = weight.pieces[weight.pieces.size() < slot.heights.size() ? 0 : part];
      const std::int64_t whole = column ? *elements_of(piece.planes[0].found->shape) : piece.height;
      const std::size_t parts_in_it = weight.pieces.size() < slot.heights.size() ? slot.heights.size() : 1;
      slot.heights[part] = int(whole / std::int64_t(parts_in_it));
    }
    slot.any_shape = false;
    slots.push_back(slot);
  }
  return slots;
}

/// Numbers one below the other.
inline std::vector<SourceMatrix> columns_of(const BoundWeight& weight) {
  std::vector<SourceMatrix> columns;
  for (const BoundPiece& piece : weight.pieces) {
    TensorView view = *piece.planes[0].found;
    view.shape = {*elements_of(view.shape), 1};
    const SourceMatrix column = source_matrix(view);
    if (piece.row->transform == Transform::transposed_interleaved) {
      columns.push_back(column.every_other(0));
      columns.push_back(column.every_other(1));
    } else {
      columns.push_back(column);
    }
  }
  return columns;
}

/// The matrices of part `part` of `parts`, those of one expert after the other.
inline std::vector<SourceMatrix> matrices_of_part(const BoundWeight& weight, std::size_t part, std::size_t parts) {
  const std::vector<SourceMatrix> all = is_column(weight) ? columns_of(weight) : matrices_of(weight);
  const auto experts = std::size_t(std::max(1, weight.slot.experts));
  std::vector<SourceMatrix> matrices;
  for (std::size_t expert = 0; expert < experts; ++expert) {
    if (all.size() == experts * parts) {
      matrices.push_back(all[expert * parts + part]);
    } else {
      const SourceMatrix& whole = all.at(expert);
      const std::int64_t height = whole.out / std::int64_t(parts);
      matrices.push_back(whole.outputs(std::int64_t(part) * height, height));
    }
  }
  return matrices;
}

inline Shape shape_of_part(const BoundWeight& weight, const std::vector<SourceMatrix>& matrices) {
  const SourceMatrix& matrix = matrices[0];
  if (!is_column(weight)) {
    if (weight.slot.experts > 0) return {std::int64_t(matrices.size()), matrix.out, matrix.in};
    return {matrix.out, matrix.in};
  }
  // Parts differ in the last dimension alone.
  const Shape whole = without_leading_ones(first_view(weight).shape);
  Shape shape;
  std::int64_t rows = 1;
  for (int d = 0; d + 1 < whole.rank(); ++d) {
    shape.push_back(whole[d]);
    rows *= whole[d];
  }
  shape.push_back(matrix.out / std::max<std::int64_t>(1, rows));
  return shape;
}

}  // namespace ivl::detail
