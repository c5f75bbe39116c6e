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

/// Places one weight from the views of its pieces, whatever their file shapes.
template <PlaceOps Context>
void place(Context& ctx, const WeightSlot& slot, std::vector<TensorView> views) {
  if (slot.mixture != nullptr) {
    *slot.mixture = place_experts(ctx, slot.layout, slot.experts, slot.fusion, std::span<const TensorView>(views));
    return;
  }
  for (TensorView& view : views) {
    const std::int64_t elements = *elements_of(view.shape);
    view.shape = slot.in > 0 ? Shape{elements / slot.in, slot.in} : Shape{elements};
  }
  if (slot.matrix != nullptr) *slot.matrix = place_matrix(ctx, std::span<const TensorView>(views), slot.fusion);
  if (slot.vector != nullptr) *slot.vector = place_vector(ctx, std::span<const TensorView>(views));
  if (slot.table != nullptr) *slot.table = place_table(ctx, views.front());
}

/// Source: find(name) gives a tensor that is known to be there, release(view) lets it go.
template <PlaceOps Context, class Source>
void place_all(Context& ctx, const std::vector<WeightSlot>& slots, const ModelFacts& facts, const Source& source,
               std::int64_t bytes_total, const ProgressCallback& progress) {
  std::int64_t bytes_done = 0;
  std::vector<TensorView> views;
  for (const WeightSlot& slot : slots) {
    views.clear();
    for (const ExpectedTensor& expected : expected_tensors(slot, facts)) {
      if (progress) progress({bytes_done, bytes_total, expected.name});
      const TensorView* view = source.find(expected.name);
      if (view == nullptr) view = source.find(std::string(find_tensor_name("language.embedding.weight")->github[0]));
      views.push_back(*view);
    }
    place(ctx, slot, views);
    for (const TensorView& view : views) {
      source.release(view);
      bytes_done += std::int64_t(view.bytes.size());
    }
  }
  if (progress) progress({bytes_total, bytes_total, {}});
}

}  // namespace detail

}  // namespace ivl
