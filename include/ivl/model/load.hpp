// A checkpoint folder into a `Vlm`: every difference between the files and the type is found before anything is placed.
#pragma once
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
#include "ivl/ops/place.hpp"

namespace ivl {

/// The tensors of a folder under their published names.
class FolderWeights {
 public:
  explicit FolderWeights(const std::filesystem::path& folder) : files_(folder) {
    for (const std::string& name : files_.names()) {
      const auto [entry, is_new] = views_.emplace(published_name(name), files_.find(name));
      if (!is_new) fail<FileError>(folder.string(), ": the tensor ", entry->first, " is stored twice, once with the prefix model.");
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

/// One weight of a model: where it goes once placed, and what files call it. Made from what layers say in `each_weight`,
/// so that all that follows is ordinary code, compiled once for all checkpoints.
struct WeightSlot {
  std::string canonical;  ///< a row of io/names.hpp
  int layer;              ///< -1 outside the layers
  std::vector<int> heights;  ///< of the pieces q, k, v or gate, up, or of the whole; `dynamic`: as many as vocabulary rows
  int in = 0;                ///< 0: a vector
  std::optional<Shape> shape = {};  ///< in files, where it is not [height, in] or [height]
  Fusion fusion = Fusion::stacked;
  PlacedMatrix* matrix = nullptr;  // one of these three
  PlacedVector* vector = nullptr;
  PlacedTable* table = nullptr;
};

struct SlotCollector {
  std::vector<WeightSlot>& slots;

  template <int Width, class... Shapes>
  void operator()(const char* module, int layer, const char* part, Vector<Width>& weight, const Shapes&... shape) const {
    WeightSlot& slot = add(module, layer, part, Width, 0);
    slot.vector = &weight.placed;
    (apply(slot, shape), ...);
  }
  template <int Out, int In, class... Shapes>
  void operator()(const char* module, int layer, const char* part, Weight<Out, In>& weight, const Shapes&... shape) const {
    WeightSlot& slot = add(module, layer, part, Out, In);
    slot.matrix = &weight.placed;
    (apply(slot, shape), ...);
  }
  template <int Width>
  void operator()(const char* module, int layer, const char* part, Table<Width>& weight) const {
    add(module, layer, part, dynamic, Width).table = &weight.placed;
  }

 private:
  WeightSlot& add(const char* module, int layer, const char* part, int height, int in) const {
    return slots.emplace_back(WeightSlot{.canonical = std::string(module) + part, .layer = layer, .heights = {height}, .in = in});
  }
  static void apply(WeightSlot& slot, const FileParts& parts) {
    slot.heights.assign(parts.heights.begin(), parts.heights.begin() + parts.count);
  }
  static void apply(WeightSlot& slot, Fusion fusion) { slot.fusion = fusion; }
  static void apply(WeightSlot& slot, const Shape& shape) { slot.shape = shape; }
};

template <VlmConfig C>
std::vector<WeightSlot> weight_slots(Vlm<C>& vlm) {
  std::vector<WeightSlot> slots;
  Vlm<C>::each_weight(vlm, SlotCollector{slots});
  return slots;
}

/// One tensor that the type wants from the files.
struct ExpectedTensor {
  std::string name;
  Shape shape;
};

/// The file tensors of one weight. Files with fewer pieces hold them joined.
inline std::vector<ExpectedTensor> expected_tensors(const WeightSlot& slot, const ModelFacts& facts) {
  const TensorName* row = find_tensor_name(slot.canonical);
  if (row == nullptr) fail<Error>("io/names.hpp has no row for ", slot.canonical);
  const auto& pieces = file_names(*row, facts.format);
  const bool joined = pieces[1].empty();
  std::vector<ExpectedTensor> expected;
  std::size_t next = 0;
  for (const std::string_view piece : pieces) {
    if (piece.empty()) break;
    std::int64_t height = 0;
    do {
      const int part = slot.heights[next++];
      height += part == dynamic ? facts.vocab_rows : part;
    } while (joined && next < slot.heights.size());
    const Shape shape = slot.in > 0 ? Shape{height, slot.in} : Shape{height};
    expected.push_back({with_layer(piece, slot.layer), slot.shape.value_or(shape)});
  }
  return expected;
}

/// The one weight that may be missing: a tied head is the embedding once more.
inline bool is_tied_head(const WeightSlot& slot, const ModelFacts& facts) {
  return facts.tied_head && slot.canonical == "language.head.weight";
}

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
inline std::string tensor_differences(const std::vector<WeightSlot>& slots, const ModelFacts& facts, const FolderWeights& files) {
  std::string differences;
  std::set<std::string> known;
  for (const WeightSlot& slot : slots) {
    const std::vector<ExpectedTensor> pieces = expected_tensors(slot, facts);
    const TensorView* first = files.find(pieces[0].name);
    for (const ExpectedTensor& expected : pieces) {
      known.insert(expected.name);
      const TensorView* found = files.find(expected.name);
      if (found == nullptr) {
        if (!is_tied_head(slot, facts)) differences += "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found none";
      } else if (found->shape != expected.shape) {
        differences += "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found " + shape_text(found->shape);
      } else if (!scalar_kind(found->dtype)) {
        differences += "\n  " + expected.name + ": expected F32, BF16 or F16, found " + std::string(name_of(found->dtype));
      } else if (slot.matrix != nullptr && first != nullptr && scalar_kind(first->dtype) && found->dtype != first->dtype) {
        differences += "\n  " + expected.name + ": expected " + std::string(name_of(first->dtype)) + " like " + pieces[0].name + ", found " +
                       std::string(name_of(found->dtype));
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
void place_all(Context& ctx, const std::vector<WeightSlot>& slots, const ModelFacts& facts, const Source& source, std::int64_t bytes_total,
               const ProgressCallback& progress) {
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
void place_weights(Context& ctx, const Source& source, std::int64_t bytes_total, Vlm<C>& vlm, const ProgressCallback& progress = {}) {
  detail::place_all(ctx, detail::weight_slots(vlm), vlm.facts, source, bytes_total, progress);
}

namespace detail {

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
  visit("decoder.mlp_hidden", c.decoder.mlp_hidden);
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
    if (file[i] != type[i]) lines += "\n  " + file[i].first + ": the file says " + file[i].second + ", the type " + type[i].second;
  }
  return lines;
}

/// The designated initialiser of a structure: text for a user's own source.
inline std::string config_text(const VlmConfig& c) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  std::ostringstream text;
  text << "inline constexpr ivl::VlmConfig my_checkpoint{\n"
       << "    .vit = {.layers = " << c.vit.layers << ", .hidden = " << c.vit.hidden << ", .heads = " << c.vit.heads
       << ", .mlp_hidden = " << c.vit.mlp_hidden << ",\n            .patch_px = " << c.vit.patch_px << ", .tile_px = " << c.vit.tile_px
       << ", .norm = ivl::NormKind::" << (c.vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm")
       << ", .qkv_bias = " << flag(c.vit.qkv_bias) << ", .qk_norm = " << flag(c.vit.qk_norm) << "},\n"
       << "    .projector = {.scale = " << c.projector.scale
       << ", .order = ivl::ShuffleOrder::" << (c.projector.order == ShuffleOrder::v1 ? "v1" : "v2") << "},\n"
       << "    .decoder = {.layers = " << c.decoder.layers << ", .hidden = " << c.decoder.hidden
       << ",\n                .attention = {.heads = " << c.decoder.attention.heads << ", .kv_heads = " << c.decoder.attention.kv_heads
       << ", .head_dim = " << c.decoder.attention.head_dim << ", .qkv_bias = " << flag(c.decoder.attention.qkv_bias)
       << ", .head_norm = " << flag(c.decoder.attention.head_norm) << "},\n                .mlp_hidden = " << c.decoder.mlp_hidden << "}};\n";
  return text.str();
}

/// The weights of a folder as type `C`. Throws ConfigError, listing every difference of config.json and of the tensors
/// from the type, and FileError for broken files; nothing is placed before all are known.
/// Peak memory: the placed weights and the largest tensor.
template <VlmConfig C, PlaceOps Context>
Vlm<C> load_weights(Context& ctx, const std::filesystem::path& folder, const CheckpointConfig& config, const ProgressCallback& progress = {}) {
  if (config.vlm != C)
    fail<ConfigError>((folder / "config.json").string(), ": another structure than the type:", config_differences(config.vlm, C));
  Vlm<C> vlm;
  vlm.facts = config.facts;
  const FolderWeights files(folder);
  if (const std::string differences = detail::tensor_differences(detail::weight_slots(vlm), vlm.facts, files); !differences.empty())
    fail<ConfigError>(folder.string(), ": tensors differ from the type:", differences);
  std::int64_t bytes = 0;
  for (const auto& [name, view] : files.views()) bytes += std::int64_t(view->bytes.size());
  place_weights(ctx, files, bytes, vlm, progress);
  return vlm;
}

}  // namespace ivl
