// One part of a model, such as a block or a layer, from tensors in memory.
#pragma once
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// Tensors by the names of a part's `each_weight`: "norm1.weight", "qkv.weight", "experts.3.down.weight", ... The bytes
/// belong to somebody else and are read by `place` alone.
using TensorMap = std::map<std::string, TensorView>;

/// A name and a shape that a part wants to be given.
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

/// Under canonical names a weight is whole: q, k, v lie one below the other, and gate above up. Experts in one tensor
/// are as in files, [experts, in, out].
inline std::vector<WantedTensor> wanted_tensors(const WeightSlot& slot) {
  std::int64_t height = 0;
  for (const int part : slot.heights) height += part;
  if (slot.mixture != nullptr && slot.layout != ExpertLayout::separate)
    return {{slot.canonical, {slot.experts, slot.in, height}}};
  const Shape shape = slot.shape.value_or(slot.in > 0 ? Shape{height, slot.in} : Shape{height});
  std::vector<WantedTensor> wanted;
  for (int expert = 0; expert < std::max(1, slot.experts); ++expert)
    wanted.push_back({with_expert(slot.canonical, expert), shape});
  return wanted;
}

/// The views that a backend places: gate and up apart where it interleaves them.
inline void append_pieces(const WeightSlot& slot, const TensorView& whole, std::vector<TensorView>& views) {
  const bool apart = slot.fusion == Fusion::interleaved &&
                     (slot.mixture == nullptr || slot.layout == ExpertLayout::separate) && slot.heights.size() == 2;
  if (!apart) {
    views.push_back(whole);
    return;
  }
  const std::size_t half = whole.bytes.size() / 2;
  const Shape shape{whole.shape[0] / 2, whole.shape[1]};
  views.push_back({whole.dtype, shape, whole.bytes.first(half)});
  views.push_back({whole.dtype, shape, whole.bytes.last(half)});
}

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
inline std::string part_differences(const std::vector<WeightSlot>& slots, const TensorMap& tensors) {
  std::string lines;
  std::set<std::string> known;
  for (const WeightSlot& slot : slots) {
    for (const auto& [name, shape] : wanted_tensors(slot)) {
      known.insert(name);
      const auto found = tensors.find(name);
      if (found == tensors.end())
        lines += "\n  " + name + ": expected " + shape_text(shape) + ", found none";
      else if (found->second.shape != shape)
        lines += "\n  " + name + ": expected " + shape_text(shape) + ", found " + shape_text(found->second.shape);
      else if (!scalar_kind(found->second.dtype))
        lines += "\n  " + name + ": expected F32, BF16 or F16, found " + std::string(name_of(found->second.dtype));
    }
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
  for (const detail::WeightSlot& slot : detail::part_slots(part)) {
    for (WantedTensor& wanted : detail::wanted_tensors(slot)) all.push_back(std::move(wanted));
  }
  return all;
}

/// `Part` is a type with `each_weight`: VitBlock<C>, DecoderBlock<C>, Projector<...>. Throws ConfigError with every
/// missing, misshapen and unexpected tensor before anything is placed.
template <class Part, PlaceOps Context>
Part place(Context& ctx, const TensorMap& tensors) {
  Part part;
  const std::vector<detail::WeightSlot> slots = detail::part_slots(part);
  if (const std::string differences = detail::part_differences(slots, tensors); !differences.empty())
    fail<ConfigError>("tensors differ from the type:", differences);
  std::vector<TensorView> views;
  for (const detail::WeightSlot& slot : slots) {
    views.clear();
    for (const WantedTensor& wanted : detail::wanted_tensors(slot))
      detail::append_pieces(slot, tensors.at(wanted.name), views);
    detail::place(ctx, slot, views);
  }
  return part;
}

}  // namespace ivl
