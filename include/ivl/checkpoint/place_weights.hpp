// The tensors of a checkpoint into a backend's memory.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

namespace detail {

/// The matrices of a weight: the parts of expert 0, those of expert 1, ...; gate and up each on its own.
std::vector<SourceMatrix> matrices_of(const BoundWeight& weight);

/// The tensor of a weight that cannot be placed for which it cannot: the one that holds what is not a number, else the
/// first.
std::string fault_of(const BoundWeight& weight);

/// Those that a rank has of `whole`, which matrices_of made: views, nothing is copied.
std::vector<SourceMatrix> rank_matrices(const BoundWeight& weight, const std::vector<SourceMatrix>& whole, int rank);

/// What a rank has of `view`: a vector, or the whole biases of all experts.
std::vector<TensorView> rank_views(const BoundWeight& weight, const TensorView& view, int rank);

/// Places one weight whose tensors are all there: all of it, or what rank `rank` of those that share it has.
template <PlaceOps Context>
void place(Context& ctx, const BoundWeight& weight, int rank) {
  const WeightSlot& slot = weight.slot;
  if (slot.vector != nullptr) {
    std::vector<TensorView> views;
    for (const BoundPiece& piece : weight.pieces) {
      for (const TensorView& view : rank_views(weight, *piece.planes[0].found, rank)) views.push_back(view);
    }
    *slot.vector = place_vector(ctx, std::span<const TensorView>(views));
    return;
  }
  const std::vector<SourceMatrix> matrices = rank_matrices(weight, matrices_of(weight), rank);
  if (slot.mixture != nullptr) {
    const RankPart experts = equal_part(slot.experts, slot.ranks > 1 ? rank : 0, slot.ranks);
    *slot.mixture = place_experts(ctx, int(experts.count), slot.fusion, std::span<const SourceMatrix>(matrices));
    slot.mixture->first = int(experts.first);
  }
  if (slot.matrix != nullptr)
    *slot.matrix = place_matrix(ctx, std::span<const SourceMatrix>(matrices), slot.fusion, slot.rounding);
  if (slot.table != nullptr) *slot.table = place_table(ctx, matrices.front());
}

/// Places all weights of a binding without differences. `where` starts every error.
template <PlaceOps Context>
void place_all(Context& ctx, const Binding& binding, const std::string& where, const ProgressCallback& progress) {
  const std::int64_t bytes_total = binding.bytes();
  std::int64_t bytes_done = 0;
  for (const BoundWeight& weight : binding.weights) {
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& plane : piece.planes) {
        if (progress) progress({bytes_done, bytes_total, plane.name});
        binding.prepare(*plane.found);
      }
    }
    try {
      place(ctx, weight, rank_of(ctx));
    } catch (const FileError& error) {
      fail<FileError>(where, ": ", fault_of(weight), ": ", error.what());
    }
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

#ifndef IVL_COMPILED
#include "ivl/checkpoint/place_weights.ipp"
#endif
