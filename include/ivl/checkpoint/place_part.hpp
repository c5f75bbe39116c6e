// One part of a model, such as a block or a layer, from tensors in memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
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

inline std::int64_t height_of(const WeightSlot& slot) {
  return std::accumulate(slot.heights.begin(), slot.heights.end(), std::int64_t(0));
}

inline WantedTensor wanted_tensor(const WeightSlot& slot) {
  const std::int64_t height = height_of(slot);
  if (slot.mixture != nullptr) return {slot.canonical, {slot.experts, height, slot.in}};
  return {slot.canonical, slot.shape.value_or(slot.in > 0 ? Shape{height, slot.in} : Shape{height})};
}

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
    *slot.matrix = place_matrix(ctx, std::span<const SourceMatrix>(matrices), slot.fusion);
}

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
inline std::string part_differences(const std::vector<WeightSlot>& slots, const TensorMap& tensors) {
  std::string lines;
  std::set<std::string> known;
  for (const WeightSlot& slot : slots) {
    const auto [name, shape] = wanted_tensor(slot);
    known.insert(name);
    const auto found = tensors.find(name);
    if (found == tensors.end())
      lines += "\n  " + name + ": expected " + shape_text(shape) + ", found none";
    else if (found->second.shape != shape)
      lines += "\n  " + name + ": expected " + shape_text(shape) + ", found " + shape_text(found->second.shape);
    else if (!scalar_kind(found->second.dtype))
      lines += "\n  " + name + ": expected F32, BF16 or F16, found " + std::string(name_of(found->second.dtype));
  }
  for (const auto& [name, view] : tensors) {
    if (!known.contains(name)) lines += "\n  " + name + ": expected none, found " + shape_text(view.shape);
  }
  return lines;
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

/// `Part` is a type with `each_weight`: VitBlock<C>, DecoderBlock<C>, Projector<...>. Throws ConfigError with every
/// missing, misshapen and unexpected tensor before anything is placed.
template <class Part, PlaceOps Context>
Part place(Context& ctx, const TensorMap& tensors) {
  Part part;
  const std::vector<WeightSlot> slots = detail::part_slots(part);
  if (const std::string differences = detail::part_differences(slots, tensors); !differences.empty())
    fail<ConfigError>("tensors differ from the type:", differences);
  for (const WeightSlot& slot : slots) detail::place_slot(ctx, slot, tensors.at(slot.canonical));
  return part;
}

}  // namespace ivl
