// What a type wants from the tensors of a checkpoint, and where a checkpoint differs from it.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/names.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// How files store the matrices of a layer's experts.
enum class ExpertLayout : std::uint8_t {
  separate,  ///< [out, in] each, all of expert 0 (gate, up or down alone), then of expert 1, ... (Qwen3-MoE)
  fused,     ///< one tensor [experts, in, out], gate and up columns in turns (GPT-OSS in bf16)
  mxfp4,     ///< U8 blocks [experts, out, in / 32, 16] and U8 scales [experts, out, in / 32], gate and up rows in turns
};

/// The tensors of a folder under their published names.
class FolderWeights {
 public:
  explicit FolderWeights(const std::filesystem::path& folder) : files_(folder) {
    for (const std::string& name : files_.names()) {
      const auto [entry, is_new] = views_.emplace(published_name(name), files_.find(name));
      if (!is_new)
        fail<FileError>(folder.string(), ": the tensor ", entry->first,
                        " is stored twice, once with the prefix model.");
    }
  }
  const std::map<std::string, const TensorView*>& views() const { return views_; }

  /// The tensor, if there is one.
  const TensorView* find(const std::string& name) const {
    const auto entry = views_.find(name);
    return entry == views_.end() ? nullptr : entry->second;
  }
  /// What was read of this tensor may leave memory.
  void release(const TensorView& view) const { files_.release(view); }

 private:
  Safetensors files_;
  std::map<std::string, const TensorView*> views_;
};

namespace detail {

/// One weight of a model: where it goes once placed, and what files call it. Made from what layers say in
/// `each_weight`, so that all that follows is ordinary code, compiled once for all checkpoints.
struct WeightSlot {
  std::string canonical;  ///< a row of checkpoint/names.hpp
  int layer;              ///< -1 outside the layers
  std::vector<int>
      heights;  ///< of the pieces q, k, v or gate, up, or of the whole; `dynamic`: as many as vocabulary rows
  int in = 0;   ///< 0: a vector
  std::optional<Shape> shape = {};  ///< in files, where it is not [height, in] or [height]
  Fusion fusion = Fusion::stacked;
  int experts = 0;                               ///< 0: one matrix, vector or table
  ExpertLayout layout = ExpertLayout::separate;  ///< of experts in files: see `find_layouts`
  PlacedMatrix* matrix = nullptr;                // one of these four
  PlacedVector* vector = nullptr;
  PlacedTable* table = nullptr;
  PlacedExperts* mixture = nullptr;
};

/// One tensor that the type wants from the files.
struct ExpectedTensor {
  std::string name;
  Shape shape;
  bool packed = false;  ///< U8, several numbers or a part of one; else a scalar of its own
};

struct SlotCollector {
  std::vector<WeightSlot>& slots;

  template <int Width, class... Shapes>
  void operator()(const char* module, int layer, const char* part, Vector<Width>& weight,
                  const Shapes&... shape) const {
    WeightSlot& slot = add(module, layer, part, Width, 0);
    slot.vector = &weight.placed;
    (apply(slot, shape), ...);
  }
  template <int Out, int In, class... Shapes>
  void operator()(const char* module, int layer, const char* part, Weight<Out, In>& weight,
                  const Shapes&... shape) const {
    WeightSlot& slot = add(module, layer, part, Out, In);
    slot.matrix = &weight.placed;
    (apply(slot, shape), ...);
  }
  template <int Width>
  void operator()(const char* module, int layer, const char* part, Table<Width>& weight) const {
    add(module, layer, part, dynamic, Width).table = &weight.placed;
  }
  template <int Experts, int Out, int In, class... Shapes>
  void operator()(const char* module, int layer, const char* part, ExpertWeight<Experts, Out, In>& weight,
                  const Shapes&... shape) const {
    WeightSlot& slot = add(module, layer, part, Out, In);
    slot.experts = Experts;
    slot.layout = slot.canonical.find('*') == std::string::npos ? ExpertLayout::fused : ExpertLayout::separate;
    slot.mixture = &weight.placed;
    (apply(slot, shape), ...);
  }

 private:
  WeightSlot& add(const char* module, int layer, const char* part, int height, int in) const {
    return slots.emplace_back(
        WeightSlot{.canonical = std::string(module) + part, .layer = layer, .heights = {height}, .in = in});
  }
  static void apply(WeightSlot& slot, const FileParts& parts) {
    slot.heights.assign(parts.heights.begin(), parts.heights.begin() + parts.count);
  }
  static void apply(WeightSlot& slot, Fusion fusion) { slot.fusion = fusion; }
  static void apply(WeightSlot& slot, const Shape& shape) { slot.shape = shape; }
};

/// The row of checkpoint/names.hpp for a weight as files store it.
inline const TensorName& names_of(const WeightSlot& slot) {
  std::string canonical = slot.canonical;
  if (slot.layout == ExpertLayout::mxfp4) canonical.replace(canonical.rfind(".weight"), std::string::npos, ".mxfp4");
  const TensorName* row = find_tensor_name(canonical);
  if (row == nullptr) fail<Error>("checkpoint/names.hpp has no row for ", canonical);
  return *row;
}

/// The file tensors of one weight. Files with fewer pieces hold them joined.
inline std::vector<ExpectedTensor> expected_tensors(const WeightSlot& slot, const ModelFacts& facts) {
  const auto& pieces = file_names(names_of(slot), facts.format);
  if (slot.mixture != nullptr && slot.layout != ExpertLayout::separate) {
    const std::int64_t experts = slot.experts, out = slot.heights[0], in = slot.in;
    if (slot.layout == ExpertLayout::fused) return {{with_layer(pieces[0], slot.layer), {experts, in, out}}};
    return {{with_layer(pieces[0], slot.layer), {experts, out, in / 32, 16}, true},
            {with_layer(pieces[1], slot.layer), {experts, out, in / 32}, true}};
  }
  const bool joined = pieces[1].empty();
  std::vector<ExpectedTensor> expected;
  for (int expert = 0; expert < std::max(1, slot.experts); ++expert) {
    std::size_t next = 0;
    for (const std::string_view piece : pieces) {
      if (piece.empty()) break;
      std::int64_t height = 0;
      do {
        const int part = slot.heights[next++];
        height += part == dynamic ? facts.vocab_rows : part;
      } while (joined && next < slot.heights.size());
      const Shape shape = slot.in > 0 ? Shape{height, slot.in} : Shape{height};
      expected.push_back({with_expert(with_layer(piece, slot.layer), expert), slot.shape.value_or(shape)});
    }
  }
  return expected;
}

/// Experts that files may hold as one tensor or as MXFP4 are what `source`, anything with find(name), has of them.
template <class Source>
void find_layouts(std::vector<WeightSlot>& slots, const ModelFacts& facts, const Source& source) {
  for (WeightSlot& slot : slots) {
    if (slot.mixture == nullptr || slot.layout == ExpertLayout::separate) continue;
    slot.layout = ExpertLayout::mxfp4;
    const std::vector<ExpectedTensor> blocks_and_scales = expected_tensors(slot, facts);
    const bool found = std::any_of(blocks_and_scales.begin(), blocks_and_scales.end(),
                                   [&](const ExpectedTensor& tensor) { return source.find(tensor.name) != nullptr; });
    if (!found) slot.layout = ExpertLayout::fused;
  }
}

/// The one weight that may be missing: a tied head is the embedding once more.
inline bool is_tied_head(const WeightSlot& slot, const ModelFacts& facts) {
  return facts.tied_head && slot.canonical == "language.head.weight";
}

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
inline std::string tensor_differences(const std::vector<WeightSlot>& slots, const ModelFacts& facts,
                                      const FolderWeights& files) {
  std::string differences;
  std::set<std::string> known;
  for (const WeightSlot& slot : slots) {
    const std::vector<ExpectedTensor> pieces = expected_tensors(slot, facts);
    const TensorView* first = files.find(pieces[0].name);
    for (const ExpectedTensor& expected : pieces) {
      known.insert(expected.name);
      const TensorView* found = files.find(expected.name);
      if (found == nullptr) {
        if (!is_tied_head(slot, facts))
          differences += "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found none";
      } else if (found->shape != expected.shape) {
        differences +=
            "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found " + shape_text(found->shape);
      } else if (expected.packed ? found->dtype != Dtype::u8 : !scalar_kind(found->dtype)) {
        differences += "\n  " + expected.name + ": expected " + (expected.packed ? "U8" : "F32, BF16 or F16") +
                       ", found " + std::string(name_of(found->dtype));
      } else if (!expected.packed && slot.vector == nullptr && first != nullptr && scalar_kind(first->dtype) &&
                 found->dtype != first->dtype) {
        differences += "\n  " + expected.name + ": expected " + std::string(name_of(first->dtype)) + " like " +
                       pieces[0].name + ", found " + std::string(name_of(found->dtype));
      }
    }
  }
  for (const auto& [name, view] : files.views()) {
    if (!known.contains(name)) differences += "\n  " + name + ": expected none, found " + shape_text(view->shape);
  }
  return differences;
}

}  // namespace detail

}  // namespace ivl
