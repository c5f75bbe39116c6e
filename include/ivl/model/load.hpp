// A checkpoint folder into a `Vlm`: every difference between the files and the type is found before anything is placed.
#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
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

/// One tensor that the type wants from the files.
struct ExpectedTensor {
  std::string name;
  Shape shape;
};

/// The file tensors of one weight. `heights` are those of the pieces q, k, v or gate, up; files with fewer pieces hold
/// them joined.
inline std::vector<ExpectedTensor> expected_tensors(const TensorName& row, FolderFormat format, int layer,
                                                    std::span<const int> heights, int in) {
  std::vector<ExpectedTensor> expected;
  std::size_t next = 0;
  const auto& pieces = file_names(row, format);
  const bool joined = pieces[1].empty();
  for (const std::string_view piece : pieces) {
    if (piece.empty()) break;
    std::int64_t height = 0;
    do height += heights[next++];
    while (joined && next < heights.size());
    expected.push_back({with_layer(piece, layer), in > 0 ? Shape{height, in} : Shape{height}});
  }
  return expected;
}

inline const TensorName& table_row(const std::string& canonical) {
  const TensorName* row = find_tensor_name(canonical);
  if (row == nullptr) fail<Error>("io/names.hpp has no row for ", canonical);
  return *row;
}

/// Turns what layers say of a weight into the tensors of a folder.
struct Expectation {
  FolderFormat format;
  int vocab_rows;

  template <int Width, class... Parts>
  auto operator()(const char* module, int layer, const char* part, const Vector<Width>&, Parts... shape) const {
    return list(module, layer, part, Width, 0, shape...);
  }
  template <int Out, int In, class... Parts>
  auto operator()(const char* module, int layer, const char* part, const Weight<Out, In>&, Parts... shape) const {
    return list(module, layer, part, Out == dynamic ? vocab_rows : Out, In, shape...);
  }
  template <int Width>
  auto operator()(const char* module, int layer, const char* part, const Table<Width>&) const {
    return list(module, layer, part, vocab_rows, Width);
  }

 private:
  using List = std::vector<ExpectedTensor>;
  List list(const std::string& module, int layer, const char* part, int height, int in) const {
    return expected_tensors(table_row(module + part), format, layer, {&height, 1}, in);
  }
  List list(const std::string& module, int layer, const char* part, int, int in, const FileParts& parts,
            Fusion = Fusion::stacked) const {
    return expected_tensors(table_row(module + part), format, layer, {parts.heights.data(), std::size_t(parts.count)}, in);
  }
  List list(const std::string& module, int layer, const char* part, int, int, const Shape& shape) const {
    const auto& pieces = file_names(table_row(module + part), format);
    return {{with_layer(pieces[0], layer), shape}};
  }
};

/// Places one weight from the views of its pieces.
template <class Context>
struct Placer {
  Context& ctx;

  template <int Width, class... Parts>
  void operator()(std::vector<TensorView>& views, Vector<Width>& weight, const Parts&...) const {
    for (TensorView& view : views) view.shape = {*elements_of(view.shape)};
    weight.placed = place_vector(ctx, std::span<const TensorView>(views));
  }
  template <int Out, int In, class... Parts>
  void operator()(std::vector<TensorView>& views, Weight<Out, In>& weight, const Parts&... shape) const {
    for (TensorView& view : views) view.shape = {*elements_of(view.shape) / In, In};
    Fusion fusion = Fusion::stacked;
    ((fusion = fusion_of(shape, fusion)), ...);
    weight.placed = place_matrix(ctx, std::span<const TensorView>(views), fusion);
  }
  template <int Width>
  void operator()(std::vector<TensorView>& views, Table<Width>& weight) const {
    weight.placed = place_table(ctx, views.front());
  }

 private:
  static Fusion fusion_of(Fusion fusion, Fusion) { return fusion; }
  template <class Other>
  static Fusion fusion_of(const Other&, Fusion otherwise) {
    return otherwise;
  }
};

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
template <VlmConfig C>
std::string tensor_differences(const Vlm<C>& vlm, const FolderWeights& files) {
  std::string differences;
  std::set<std::string> known;
  const Expectation expectation{vlm.facts.format, vlm.facts.vocab_rows};
  Vlm<C>::each_weight(vlm, [&](const char* module, int layer, const char* part, const auto& weight, auto... shape) {
    for (const ExpectedTensor& expected : expectation(module, layer, part, weight, shape...)) {
      known.insert(expected.name);
      const TensorView* found = files.find(expected.name);
      if (found == nullptr) {
        const bool tied = vlm.facts.tied_head && std::string_view(part) == "head.weight";
        if (!tied) differences += "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found none";
      } else if (found->shape != expected.shape) {
        differences += "\n  " + expected.name + ": expected " + shape_text(expected.shape) + ", found " + shape_text(found->shape);
      } else if (!scalar_kind(found->dtype)) {
        differences += "\n  " + expected.name + ": expected F32, BF16 or F16, found " + std::string(name_of(found->dtype));
      }
    }
  });
  for (const auto& [name, view] : files.views()) {
    if (!known.contains(name)) differences += "\n  " + name + ": expected none, found " + shape_text(view->shape);
  }
  return differences;
}

}  // namespace detail

/// Places every weight of `vlm`, whose facts are set, from `source`: anything with find(name) and release(view).
template <VlmConfig C, PlaceOps Context, class Source>
void place_weights(Context& ctx, const Source& source, std::int64_t bytes_total, Vlm<C>& vlm, const ProgressCallback& progress = {}) {
  const detail::Expectation expectation{vlm.facts.format, vlm.facts.vocab_rows};
  const detail::Placer<Context> place{ctx};
  std::int64_t bytes_done = 0;
  Vlm<C>::each_weight(vlm, [&](const char* module, int layer, const char* part, auto& weight, auto... shape) {
    std::vector<TensorView> views;
    std::string name;
    for (const detail::ExpectedTensor& expected : expectation(module, layer, part, weight, shape...)) {
      name = expected.name;
      const TensorView* view = source.find(name);
      // A tied head is the embedding once more, in a matrix's layout.
      if (view == nullptr) view = source.find(std::string(detail::table_row("language.embedding.weight").github[0]));
      views.push_back(*view);
    }
    const std::vector<TensorView> pieces = views;
    place(views, weight, shape...);
    for (const TensorView& piece : pieces) {
      source.release(piece);
      bytes_done += std::int64_t(piece.bytes.size());
    }
    if (progress) progress({bytes_done, bytes_total, name});
  });
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
  if (const std::string differences = detail::tensor_differences(vlm, files); !differences.empty())
    fail<ConfigError>(folder.string(), ": tensors differ from the type:", differences);
  std::int64_t bytes = 0;
  for (const auto& [name, view] : files.views()) bytes += std::int64_t(view->bytes.size());
  place_weights(ctx, files, bytes, vlm, progress);
  return vlm;
}

}  // namespace ivl
