// The bodies of place_part.hpp.
#pragma once
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "ivl/checkpoint/place_part.hpp"
#include "ivl/core/tensor.hpp"

namespace ivl::detail {

IVL_INLINE std::int64_t height_of(const WeightSlot& slot) {
  return std::accumulate(slot.heights.begin(), slot.heights.end(), std::int64_t(0));
}

IVL_INLINE WantedTensor wanted_tensor(const WeightSlot& slot) {
  const std::int64_t height = height_of(slot);
  if (slot.mixture != nullptr) return {slot.canonical, {slot.experts, height, slot.in}};
  return {slot.canonical, slot.shape.value_or(slot.in > 0 ? Shape{height, slot.in} : Shape{height})};
}

IVL_INLINE std::string part_differences(const std::vector<WeightSlot>& slots, const TensorMap& tensors) {
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

}  // namespace ivl::detail
