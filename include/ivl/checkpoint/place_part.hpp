// One part of a model, such as a block or a layer, from tensors in memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/slots.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// A name of a part's `each_weight` ("norm1.weight", "qkv.weight", "experts.down.weight", ...) and a shape, which a
/// part wants to be given. A weight is whole: q, k, v lie one below the other, and gate above up; those of experts one
/// after the other. The biases of experts' gate and up alone take turns, gate first, as GPT-OSS stores them.
struct WantedTensor {
  std::string name;
  Shape shape;
};

namespace detail {

template <class Part>
std::vector<WeightSlot> part_slots(Part& part) {
  std::vector<WeightSlot> slots;
  Part::each_weight(part, [&slots](const char* name, auto& weight, const auto&... shape) {
    SlotCollector{slots}("", -1, name, weight, shape...);
  });
  return slots;
}

std::int64_t height_of(const WeightSlot& slot);
WantedTensor wanted_tensor(const WeightSlot& slot);

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
std::string part_differences(const std::vector<WeightSlot>& slots, const TensorMap& tensors);

template <PlaceOps Context>
void place_slot(Context& ctx, const WeightSlot& slot, TensorView view) {
  const std::int64_t height = height_of(slot);
  if (slot.vector != nullptr) {
    view.shape = {height};
    *slot.vector = place_vector(ctx, std::span<const TensorView>(&view, 1));
    return;
  }
  std::vector<SourceMatrix> matrices;
  const int experts = std::max(1, slot.experts);
  const std::size_t bytes = view.bytes.size() / std::size_t(experts);
  for (int expert = 0; expert < experts; ++expert) {
    const SourceMatrix whole =
        source_matrix({view.dtype, {height, slot.in}, view.bytes.subspan(std::size_t(expert) * bytes, bytes)});
    if (slot.fusion == Fusion::interleaved) {
      matrices.push_back(whole.outputs(0, height / 2));
      matrices.push_back(whole.outputs(height / 2, height / 2));
    } else {
      matrices.push_back(whole);
    }
  }
  if (slot.mixture != nullptr)
    *slot.mixture = place_experts(ctx, slot.experts, slot.fusion, std::span<const SourceMatrix>(matrices));
  else
    *slot.matrix = place_matrix(ctx, std::span<const SourceMatrix>(matrices), slot.fusion, slot.rounding);
}

}  // namespace detail

/// What `place<Part>` wants: the names and shapes of a block's or a layer's weights.
template <class Part>
std::vector<WantedTensor> tensors_of() {
  Part part;
  std::vector<WantedTensor> all;
  for (const WeightSlot& slot : detail::part_slots(part)) all.push_back(detail::wanted_tensor(slot));
  return all;
}

/// `Part` is a type with `each_weight`: VitBlock<C>, DecoderBlock<C>, Projector<...>. Throws ConfigError with the
/// missing, misshapen and unexpected tensors, ten at most, before anything is placed.
template <class Part, PlaceOps Context>
Part place(Context& ctx, const TensorMap& tensors) {
  Part part;
  const std::vector<WeightSlot> slots = detail::part_slots(part);
  if (const std::string differences = detail::part_differences(slots, tensors); !differences.empty())
    fail<ConfigError>("tensors differ from the type:", first_lines(differences));
  for (const WeightSlot& slot : slots) detail::place_slot(ctx, slot, tensors.at(slot.canonical));
  return part;
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/place_part.ipp"
#endif
