// A checkpoint folder into a `Vlm`: every difference between the files and the type is found before anything is placed.
#pragma once
#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/io/config_json.hpp"
#include "ivl/io/names.hpp"
#include "ivl/io/progress.hpp"
#include "ivl/io/safetensors.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

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
  std::string canonical;  ///< a row of io/names.hpp
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

/// All weights, experts as files of full precision store them.
template <VlmConfig C>
std::vector<WeightSlot> weight_slots(Vlm<C>& vlm) {
  std::vector<WeightSlot> slots;
  Vlm<C>::each_weight(vlm, SlotCollector{slots});
  return slots;
}

/// The row of io/names.hpp for a weight as files store it.
inline const TensorName& names_of(const WeightSlot& slot) {
  std::string canonical = slot.canonical;
  if (slot.layout == ExpertLayout::mxfp4) canonical.replace(canonical.rfind(".weight"), std::string::npos, ".mxfp4");
  const TensorName* row = find_tensor_name(canonical);
  if (row == nullptr) fail<Error>("io/names.hpp has no row for ", canonical);
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

/// Places every weight of `vlm`, whose facts are set, from `source`: anything with find(name) and release(view).
template <VlmConfig C, PlaceOps Context, class Source>
void place_weights(Context& ctx, const Source& source, std::int64_t bytes_total, Vlm<C>& vlm,
                   const ProgressCallback& progress = {}) {
  auto slots = detail::weight_slots(vlm);
  detail::find_layouts(slots, vlm.facts, source);
  detail::place_all(ctx, slots, vlm.facts, source, bytes_total, progress);
}

namespace detail {

constexpr std::string_view text_of(ExpertActivation activation) {
  return activation == ExpertActivation::clamped_swi_glu ? "clamped_swi_glu" : "swi_glu";
}

/// Fields of a config, for the list of differences and for text to paste.
template <class Visit>
void each_field(const VlmConfig& c, const Visit& visit) {
  visit("vit.layers", c.vit.layers);
  visit("vit.hidden", c.vit.hidden);
  visit("vit.heads", c.vit.heads);
  visit("vit.mlp_hidden", c.vit.mlp_hidden);
  visit("vit.patch_px", c.vit.patch_px);
  visit("vit.tile_px", c.vit.tile_px);
  visit("vit.norm", std::string(c.vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm"));
  visit("vit.qkv_bias", c.vit.qkv_bias);
  visit("vit.qk_norm", c.vit.qk_norm);
  visit("projector.scale", c.projector.scale);
  visit("projector.order", std::string(c.projector.order == ShuffleOrder::v1 ? "v1" : "v2"));
  visit("decoder.layers", c.decoder.layers);
  visit("decoder.hidden", c.decoder.hidden);
  visit("decoder.attention.heads", c.decoder.attention.heads);
  visit("decoder.attention.kv_heads", c.decoder.attention.kv_heads);
  visit("decoder.attention.head_dim", c.decoder.attention.head_dim);
  visit("decoder.attention.qkv_bias", c.decoder.attention.qkv_bias);
  visit("decoder.attention.head_norm", c.decoder.attention.head_norm);
  visit("decoder.attention.out_bias", c.decoder.attention.out_bias);
  visit("decoder.attention.sinks", c.decoder.attention.sinks);
  visit("decoder.attention.window", c.decoder.attention.window);
  visit("decoder.mlp_hidden", c.decoder.mlp_hidden);
  visit("decoder.moe.experts", c.decoder.moe.experts);
  visit("decoder.moe.active", c.decoder.moe.active);
  visit("decoder.moe.mlp_hidden", c.decoder.moe.mlp_hidden);
  visit("decoder.moe.activation", std::string(text_of(c.decoder.moe.activation)));
  visit("decoder.moe.bias", c.decoder.moe.bias);
}

inline std::string field_text(int value) { return std::to_string(value); }
inline std::string field_text(bool value) { return value ? "true" : "false"; }
inline std::string field_text(const std::string& value) { return value; }

inline std::vector<std::pair<std::string, std::string>> field_texts(const VlmConfig& config) {
  std::vector<std::pair<std::string, std::string>> fields;
  each_field(config, [&](const char* name, const auto& value) { fields.emplace_back(name, field_text(value)); });
  return fields;
}

}  // namespace detail

/// Every field in which two structures differ, a line each: `found` is the file's, `expected` the type's.
inline std::string config_differences(const VlmConfig& found, const VlmConfig& expected) {
  const auto file = detail::field_texts(found), type = detail::field_texts(expected);
  std::string lines;
  for (std::size_t i = 0; i < file.size(); ++i) {
    if (file[i] != type[i])
      lines += "\n  " + file[i].first + ": the file says " + file[i].second + ", the type " + type[i].second;
  }
  return lines;
}

/// The designated initialiser of a structure: text for a user's own source.
inline std::string config_text(const VlmConfig& c) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  std::ostringstream text;
  text << "inline constexpr ivl::VlmConfig my_checkpoint{\n"
       << "    .vit = {.layers = " << c.vit.layers << ", .hidden = " << c.vit.hidden << ", .heads = " << c.vit.heads
       << ", .mlp_hidden = " << c.vit.mlp_hidden << ",\n            .patch_px = " << c.vit.patch_px
       << ", .tile_px = " << c.vit.tile_px
       << ", .norm = ivl::NormKind::" << (c.vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm")
       << ", .qkv_bias = " << flag(c.vit.qkv_bias) << ", .qk_norm = " << flag(c.vit.qk_norm) << "},\n"
       << "    .projector = {.scale = " << c.projector.scale
       << ", .order = ivl::ShuffleOrder::" << (c.projector.order == ShuffleOrder::v1 ? "v1" : "v2") << "},\n"
       << "    .decoder = {.layers = " << c.decoder.layers << ", .hidden = " << c.decoder.hidden
       << ",\n                .attention = {.heads = " << c.decoder.attention.heads
       << ", .kv_heads = " << c.decoder.attention.kv_heads << ", .head_dim = " << c.decoder.attention.head_dim
       << ", .qkv_bias = " << flag(c.decoder.attention.qkv_bias)
       << ", .head_norm = " << flag(c.decoder.attention.head_norm)
       << ",\n                              .out_bias = " << flag(c.decoder.attention.out_bias)
       << ", .sinks = " << flag(c.decoder.attention.sinks) << ", .window = " << c.decoder.attention.window
       << "},\n                ";
  if (c.decoder.sparse()) {
    const MoeConfig& moe = c.decoder.moe;
    text << ".moe = {.experts = " << moe.experts << ", .active = " << moe.active << ", .mlp_hidden = " << moe.mlp_hidden
         << ",\n                        .activation = ivl::ExpertActivation::" << detail::text_of(moe.activation)
         << ", .bias = " << flag(moe.bias) << "}}};\n";
  } else {
    text << ".mlp_hidden = " << c.decoder.mlp_hidden << "}};\n";
  }
  return text.str();
}

/// The weights of a folder as type `C`. Throws ConfigError, listing every difference of config.json and of the tensors
/// from the type, and FileError for broken files; nothing is placed before all are known.
/// Peak memory: the placed weights and the tensors of the largest one, such as all experts of a layer.
template <VlmConfig C, PlaceOps Context>
Vlm<C> load_weights(Context& ctx, const std::filesystem::path& folder, const CheckpointConfig& config,
                    const ProgressCallback& progress = {}) {
  if (config.vlm != C)
    fail<ConfigError>((folder / "config.json").string(),
                      ": another structure than the type:", config_differences(config.vlm, C));
  Vlm<C> vlm;
  vlm.facts = config.facts;
  const FolderWeights files(folder);
  auto slots = detail::weight_slots(vlm);
  detail::find_layouts(slots, vlm.facts, files);
  if (const std::string differences = detail::tensor_differences(slots, vlm.facts, files); !differences.empty())
    fail<ConfigError>(folder.string(), ": tensors differ from the type:", differences);
  std::int64_t bytes = 0;
  for (const auto& [name, view] : files.views()) bytes += std::int64_t(view->bytes.size());
  detail::place_all(ctx, slots, vlm.facts, files, bytes, progress);
  return vlm;
}

}  // namespace ivl
