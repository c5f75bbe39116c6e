// The weights of a model as a list of ordinary values.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// One weight of a model: its name, its shape, and where it goes once placed. Made from the lists in
/// `each_weight`, so that the code behind it is compiled once for all checkpoints.
struct WeightSlot {
  std::string canonical;     ///< as checkpoint/names.hpp has it, with `#` for the layer's number
  int layer = -1;            ///< -1 outside the layers
  std::vector<int> heights;  ///< of the parts q, k, v or gate, up, or of the whole; `dynamic`: one a vocabulary row
  int in = 0;                ///< 0: a vector
  std::optional<Shape> shape = {};  ///< in files, where it is not [height, in] or [height]
  Fusion fusion = Fusion::stacked;
  Rounding rounding = Rounding::as_context_says;
  int experts = 0;                 ///< 0: one matrix, vector or table
  int ranks = 1;                   ///< that share the weight, if its part in the table of names says how
  bool any_shape = false;          ///< what was found counts: the weight is renamed, not placed
  PlacedMatrix* matrix = nullptr;  // one of these four, or none
  PlacedVector* vector = nullptr;
  PlacedTable* table = nullptr;
  PlacedExperts* mixture = nullptr;
};

/// Receives what `each_weight` visits.
struct SlotCollector {
  std::vector<WeightSlot>& slots;

  template <int Width, class... Details>
  void operator()(const char* module, int layer, const char* part, Vector<Width>& weight,
                  const Details&... details) const {
    add(module, layer, part, Width, 0, details...).vector = &weight.placed;
  }
  template <int Out, int In, class... Details>
  void operator()(const char* module, int layer, const char* part, Weight<Out, In>& weight,
                  const Details&... details) const {
    add(module, layer, part, Out, In, details...).matrix = &weight.placed;
  }
  template <int Width>
  void operator()(const char* module, int layer, const char* part, Table<Width>& weight) const {
    add(module, layer, part, dynamic, Width).table = &weight.placed;
  }
  template <int Experts, int Out, int In, class... Details>
  void operator()(const char* module, int layer, const char* part, ExpertWeight<Experts, Out, In>& weight,
                  const Details&... details) const {
    WeightSlot& slot = add(module, layer, part, Out, In, details...);
    slot.experts = Experts;
    slot.mixture = &weight.placed;
  }

 private:
  template <class... Details>
  WeightSlot& add(const char* module, int layer, const char* part, int height, int in,
                  const Details&... details) const {
    WeightSlot& slot = slots.emplace_back();
    slot.canonical = std::string(module) + part;
    slot.layer = layer;
    slot.heights = {height};
    slot.in = in;
    (apply(slot, details), ...);
    return slot;
  }
  static void apply(WeightSlot& slot, const FileParts& parts) {
    slot.heights.assign(parts.heights.begin(), parts.heights.begin() + parts.count);
  }
  static void apply(WeightSlot& slot, Fusion fusion) { slot.fusion = fusion; }
  static void apply(WeightSlot& slot, Rounding rounding) { slot.rounding = rounding; }
  static void apply(WeightSlot& slot, const Shape& shape) { slot.shape = shape; }
};

}  // namespace ivl
