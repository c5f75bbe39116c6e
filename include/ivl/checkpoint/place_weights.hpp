// The tensors of a checkpoint into a backend's memory.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

namespace detail {

/// Rows [first, first + height) of an expert in a tensor [experts, rows, in] or [rows, in], whatever its shape in
/// files.
inline TensorView rows_of_expert(const TensorView& view, int expert, int experts, std::int64_t in) {
  const std::int64_t rows = *elements_of(view.shape) / in / experts;
  const std::size_t bytes = view.bytes.size() / std::size_t(experts);
  return {view.dtype, {rows, in}, view.bytes.subspan(std::size_t(expert) * bytes, bytes)};
}

/// The matrices [out, in] of a weight: parts of expert 0, parts of expert 1, ...
inline std::vector<TensorView> matrices_of(const BoundWeight& weight) {
  std::vector<TensorView> views;
  const bool joined = weight.slot.experts > 0 && weight.pieces[0].expert < 0;
  const int experts = joined ? weight.slot.experts : 1;
  for (int expert = 0; expert < experts; ++expert) {
    for (const BoundPiece& piece : weight.pieces)
      views.push_back(rows_of_expert(*piece.planes[0].found, expert, experts, weight.slot.in));
  }
  return views;
}

/// Places one weight whose tensors are all there.
template <PlaceOps Context>
void place(Context& ctx, const BoundWeight& weight) {
  const WeightSlot& slot = weight.slot;
  const BoundPiece& first = weight.pieces[0];
  std::vector<TensorView> views;
  if (slot.vector != nullptr) {
    for (const BoundPiece& piece : weight.pieces) {
      const TensorView& view = *piece.planes[0].found;
      views.push_back({view.dtype, {*elements_of(view.shape)}, view.bytes});
    }
    *slot.vector = place_vector(ctx, std::span<const TensorView>(views));
    return;
  }
  ExpertLayout layout = ExpertLayout::separate;
  if (first.form.as == StoredAs::mxfp4 || first.transposed()) {
    layout = first.transposed() ? ExpertLayout::fused : ExpertLayout::mxfp4;
    for (const BoundTensor& plane : first.planes) views.push_back(*plane.found);
  } else {
    views = matrices_of(weight);
  }
  if (slot.mixture != nullptr)
    *slot.mixture = place_experts(ctx, layout, slot.experts, slot.fusion, std::span<const TensorView>(views));
  if (slot.matrix != nullptr) *slot.matrix = place_matrix(ctx, std::span<const TensorView>(views), slot.fusion);
  if (slot.table != nullptr) *slot.table = place_table(ctx, views.front());
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
