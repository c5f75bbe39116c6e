// The tensors of a checkpoint into a backend's memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

namespace detail {

/// What one piece holds of one expert, whatever the tensors' shapes; `experts`: those that share the piece's tensors.
inline SourceMatrix matrix_of(const BoundPiece& piece, std::int64_t in, int expert, int experts) {
  const auto plane = [&](std::size_t number) {
    const std::span<const std::byte> all = piece.planes[number].found->bytes;
    const std::size_t bytes = all.size() / std::size_t(experts);
    return all.subspan(std::size_t(expert) * bytes, bytes);
  };
  switch (piece.form.as) {
    case StoredAs::scalars: {
      const Dtype dtype = piece.planes[0].found->dtype;
      if (piece.transposed()) return source_matrix({dtype, {in, piece.height}, plane(0)}, SourceOrder::transposed);
      return source_matrix({dtype, {piece.height, in}, plane(0)});
    }
    case StoredAs::mxfp4:
      return source_matrix(Format::mxfp4, piece.height, in, {plane(0), plane(1)});
    case StoredAs::awq:
      break;
  }
  fail<FileError>(piece.planes[0].name, ": AWQ cannot be placed");
}

/// The matrices of a weight: the parts of expert 0, those of expert 1, ...; gate and up each on its own.
inline std::vector<SourceMatrix> matrices_of(const BoundWeight& weight) {
  const WeightSlot& slot = weight.slot;
  std::vector<SourceMatrix> matrices;
  const int sharing = slot.experts > 0 && weight.pieces[0].expert < 0 ? slot.experts : 1;
  for (int expert = 0; expert < sharing; ++expert) {
    for (const BoundPiece& piece : weight.pieces) {
      const SourceMatrix matrix = matrix_of(piece, slot.in, expert, sharing);
      if (piece.row->transform == Transform::transposed_interleaved) {
        matrices.push_back(matrix.every_other(0));
        matrices.push_back(matrix.every_other(1));
      } else {
        matrices.push_back(matrix);
      }
    }
  }
  return matrices;
}

/// Places one weight whose tensors are all there.
template <PlaceOps Context>
void place(Context& ctx, const BoundWeight& weight) {
  const WeightSlot& slot = weight.slot;
  if (slot.vector != nullptr) {
    std::vector<TensorView> views;
    for (const BoundPiece& piece : weight.pieces) {
      const TensorView& view = *piece.planes[0].found;
      views.push_back({view.dtype, {*elements_of(view.shape)}, view.bytes});
    }
    *slot.vector = place_vector(ctx, std::span<const TensorView>(views));
    return;
  }
  const std::vector<SourceMatrix> matrices = matrices_of(weight);
  if (slot.mixture != nullptr)
    *slot.mixture = place_experts(ctx, slot.experts, slot.fusion, std::span<const SourceMatrix>(matrices));
  if (slot.matrix != nullptr) *slot.matrix = place_matrix(ctx, std::span<const SourceMatrix>(matrices), slot.fusion);
  if (slot.table != nullptr) *slot.table = place_table(ctx, matrices.front());
}

/// Places all weights of a binding without differences.
template <PlaceOps Context>
void place_all(Context& ctx, const Binding& binding, const ProgressCallback& progress) {
  const std::int64_t bytes_total = binding.bytes();
  std::int64_t bytes_done = 0;
  for (const BoundWeight& weight : binding.weights) {
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& plane : piece.planes) {
        if (progress) progress({bytes_done, bytes_total, plane.name});
      }
    }
    place(ctx, weight);
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& plane : piece.planes) {
        binding.release(*plane.found);
        if (!weight.borrowed) bytes_done += std::int64_t(plane.found->bytes.size());
      }
    }
  }
  if (progress) progress({bytes_total, bytes_total, {}});
}

}  // namespace detail

}  // namespace ivl
