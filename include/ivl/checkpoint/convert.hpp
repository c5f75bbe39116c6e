// A checkpoint folder in the other published layout: the same weights, bit for bit, under the other names.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"

namespace ivl {

/// What the tokenizer of a folder says, which configs of the HF format repeat.
struct ConvertedTokens {
  int image = 0;  ///< id of <IMG_CONTEXT>
  int end = 0;    ///< id of the token that ends an answer
};

namespace detail {

// ---- config.json -------------------------------------------------------------------------------------------------
/// Where a config keeps what only the other format has a place for, so that converting back gives it again.
constexpr const char* remembered_key(FolderFormat format) {
  return format == FolderFormat::github ? "internvl_chat" : "internvl";
}

/// Moves `key` from one object to another, perhaps under another name.
inline void move_key(Json& from, const char* key, Json& to, const char* new_key) {
  if (const auto found = from.find(key); found != from.end()) {
    to[new_key] = std::move(*found);
    from.erase(found);
  }
}

/// What is left of `from` is remembered in `to`; or, where `from` was converted before and remembers what `to` once
/// had, that comes back, and what is left was only made for `from`.
inline void remember(Json from, FolderFormat target, Json& to) {
  const FolderFormat source = target == FolderFormat::github ? FolderFormat::hf : FolderFormat::github;
  if (const auto own = from.find(remembered_key(target)); own != from.end())
    to.update(*own);
  else
    to[remembered_key(source)] = std::move(from);
}

inline Json converted_vision(Json vision, FolderFormat target) {
  const bool github = target == FolderFormat::github;
  Json result = Json::object();
  const auto rename = [&](const char* github_key, const char* hf_key) {
    move_key(vision, github ? hf_key : github_key, result, github ? github_key : hf_key);
  };
  rename("qkv_bias", "attention_bias");
  rename("qk_normalization", "use_qk_norm");
  for (const char* key : {"image_size", "patch_size"}) {
    Json& value = vision[key];
    if (github && value.is_array())
      value = value.at(0);
    else if (!github && !value.is_array())
      value = Json::array({value, value});
  }
  vision["model_type"] = github ? "intern_vit_6b" : "internvl_vision";
  result.update(vision);  // the rest has one name in both
  return result;
}

/// The config.json of the other format. `config` was read by `parse_checkpoint_config` without complaint.
inline Json converted_config(Json config, const CheckpointConfig& known, const ConvertedTokens& tokens,
                             FolderFormat target) {
  const bool github = target == FolderFormat::github;
  Json result = Json::object();
  move_key(config, github ? "text_config" : "llm_config", result, github ? "llm_config" : "text_config");
  result["vision_config"] = converted_vision(std::move(config["vision_config"]), target);
  config.erase("vision_config");
  for (const char* key : {"downsample_ratio", "torch_dtype", "dtype"}) move_key(config, key, result, key);
  result["tie_word_embeddings"] = known.facts.tied_head;  // the formats have different defaults
  for (const char* key : {"model_type", "architectures", "tie_word_embeddings"}) config.erase(key);
  if (github) {
    const bool harmony = known.facts.family == Family::gpt_oss;
    result["architectures"] = {"InternVLChatModel"};
    result["ps_version"] = "v2";
    result["select_layer"] = -1;
    result["template"] = harmony ? "internvl3_5_gpt_oss" : "internvl2_5";
    result["force_image_size"] = known.vlm.vit.tile_px;
    result["dynamic_image_size"] = true;
    result["use_thumbnail"] = true;
    result["min_dynamic_patch"] = known.facts.image.min_tiles;
    result["max_dynamic_patch"] = known.facts.image.max_tiles;
    for (const char* key : {"image_seq_length", "image_token_id", "projector_hidden_act", "vision_feature_layer",
                            "vision_feature_select_strategy"})
      config.erase(key);
  } else {
    result["architectures"] = {"InternVLForConditionalGeneration"};
    result["image_seq_length"] = known.vlm.tokens_per_tile();
    result["image_token_id"] = tokens.image;
    result["projector_hidden_act"] = "gelu";
    result["vision_feature_layer"] = -1;
    result["vision_feature_select_strategy"] = "default";
  }
  remember(std::move(config), target, result);
  result["model_type"] = github ? "internvl_chat" : "internvl";
  return result;
}

inline Json converted_preprocessor(Json config, const CheckpointConfig& known, FolderFormat target) {
  const ImageFacts& image = known.facts.image;
  const int px = known.vlm.vit.tile_px;
  Json result = {{"do_normalize", true}, {"do_resize", true}, {"resample", 3}};
  const auto statistics = [&](const char* key, const std::array<float, 3>& values) {
    result[key] = Json::array();
    for (const float value : values)
      result[key].push_back(std::round(double(value) * 1e6) / 1e6);  // 0.485, not float's 0.48500001
    move_key(config, key, result, key);
  };
  statistics("image_mean", image.mean);
  statistics("image_std", image.deviation);
  if (target == FolderFormat::github) {
    result.update({{"crop_size", px},
                   {"do_center_crop", true},
                   {"feature_extractor_type", "CLIPFeatureExtractor"},
                   {"size", px}});
  } else {
    result.update({{"crop_to_patches", true},
                   {"do_convert_rgb", true},
                   {"do_rescale", true},
                   {"min_patches", image.min_tiles},
                   {"max_patches", image.max_tiles},
                   {"image_processor_type", "GotOcr2ImageProcessorFast"},
                   {"processor_class", "InternVLProcessor"},
                   {"size", {{"height", px}, {"width", px}}}});
  }
  remember(std::move(config), target, result);
  return result;
}

/// The HF format stops where generation_config.json says; the GitHub format's chat() knows its end token itself.
inline Json converted_generation(Json config, const ConvertedTokens& tokens, FolderFormat target) {
  Json result = std::move(config);
  if (target == FolderFormat::github) {
    const Json again = result.value(remembered_key(target), Json(nullptr));
    if (again.is_object()) result = again;
    return result;
  }
  Json ids = result.value("eos_token_id", Json::array());
  if (!ids.is_array()) ids = Json::array({ids});
  if (std::find(ids.begin(), ids.end(), Json(tokens.end)) != ids.end()) return result;
  const Json before = result;
  ids.push_back(tokens.end);
  result["eos_token_id"] = ids;
  result[remembered_key(FolderFormat::github)] = before;
  return result;
}

// ---- tensors -----------------------------------------------------------------------------------------------------
/// What `#` and `*` of a pattern stand for in a name; nothing where it is another name. -1: the pattern has none.
struct NameNumbers {
  int layer = -1, expert = -1;
};
inline std::optional<NameNumbers> match_name(std::string_view pattern, std::string_view name) {
  NameNumbers numbers;
  while (!pattern.empty() && !name.empty()) {
    if (pattern[0] != '#' && pattern[0] != '*') {
      if (pattern[0] != name[0]) return std::nullopt;
      pattern.remove_prefix(1), name.remove_prefix(1);
      continue;
    }
    int& number = pattern[0] == '#' ? numbers.layer : numbers.expert;
    std::size_t digits = 0;
    for (number = 0; digits < name.size() && digits < 6 && name[digits] >= '0' && name[digits] <= '9'; ++digits)
      number = 10 * number + (name[digits] - '0');
    if (digits == 0) return std::nullopt;
    pattern.remove_prefix(1), name.remove_prefix(digits);
  }
  return pattern.empty() && name.empty() ? std::optional(numbers) : std::nullopt;
}

/// What one name of a file says: a plane of a part, of a layer and perhaps of an expert.
struct FileName {
  const PartName* row = nullptr;
  bool bias = false;
  NameNumbers numbers;
};

/// Reads names of one dialect and family, the table the other way round.
class NameReader {
 public:
  NameReader(Dialect dialect, Family family) {
    for (const PartName& row : names::table) {
      if (row.family.value_or(family) != family || row.files.in(dialect).empty()) continue;
      const auto add = [&](const StoredForm& form, bool bias) {
        for (int plane = 0; plane < form.planes; ++plane)
          patterns_.push_back(
              {name_pattern(row, dialect) + std::string(form.suffixes[std::size_t(plane)]), {&row, bias, {}}});
      };
      for (const StoredForm& form : stored_forms) {
        if (form.naming == row.naming) add(form, false);
      }
      if (row.naming != Naming::bare) add(form_of_bias(row.naming), true);
    }
  }
  std::optional<FileName> read(std::string_view name) const {
    for (const auto& [pattern, meaning] : patterns_) {
      if (const auto numbers = match_name(pattern, name)) return FileName{meaning.row, meaning.bias, *numbers};
    }
    return std::nullopt;
  }

 private:
  std::vector<std::pair<std::string, FileName>> patterns_;
};

/// The weight that a part belongs to where files of the dialect store it in parts; else the part itself.
inline const PartName& weight_of(const PartName& part, Dialect dialect) {
  for (const PartName& row : names::table) {
    if (row.where.canonical == part.where.canonical && row.family == part.family && row.files.in(dialect).empty() &&
        std::ranges::find(row.parts, part.part) != row.parts.end())
      return row;
  }
  return part;
}

/// The weights that a folder has something of, whatever its structure: they are renamed, not placed.
inline std::vector<WeightSlot> slots_in(const FolderWeights& files, const ModelFacts& facts,
                                        const std::string& folder) {
  const Dialect dialect = dialect_of(facts.format);
  const NameReader reader(dialect, facts.family);
  std::map<std::pair<std::string, int>, WeightSlot> slots;
  for (const std::string& name : files.names()) {
    const auto found = reader.read(name);
    if (!found)
      fail<FileError>(folder, ": cannot convert the tensor ", name, ": no weight of these models has this name");
    const PartName& row = weight_of(*found->row, dialect);
    const std::string canonical = canonical_name({&row, found->bias});
    WeightSlot& slot = slots[{canonical, found->numbers.layer}];
    slot.canonical = canonical;
    slot.layer = found->numbers.layer;
    slot.any_shape = true;
    slot.heights.assign(std::size_t(std::max(1, number_of_parts(row))), 0);
    slot.experts = std::max(slot.experts, found->numbers.expert + 1);
  }
  std::vector<WeightSlot> list;
  for (auto& [key, slot] : slots) list.push_back(std::move(slot));
  return list;
}

/// One tensor to be written: `parts` one below the other.
struct ConvertedTensor {
  std::string name;
  Dtype dtype = Dtype::u8;
  Shape shape;
  std::vector<std::span<const std::byte>> parts;
};

/// `height` rows of a tensor from `first` on, under another name.
inline ConvertedTensor some_rows(const TensorView& view, std::string name, std::int64_t first, std::int64_t height) {
  Shape shape{height};
  for (int d = 1; d < view.shape.rank(); ++d) shape.push_back(view.shape[d]);
  const std::size_t row_bytes = view.shape[0] > 0 ? view.bytes.size() / std::size_t(view.shape[0]) : 0;
  return {std::move(name),
          view.dtype,
          shape,
          {view.bytes.subspan(std::size_t(first) * row_bytes, std::size_t(height) * row_bytes)}};
}

/// Parts of one height, one below the other. Throws FileError where they do not go together.
inline ConvertedTensor joined_tensor(std::span<const BoundPiece> pieces, std::string name) {
  const BoundTensor& first = pieces[0].planes[0];
  ConvertedTensor joined{std::move(name), first.found->dtype, first.found->shape, {}};
  for (const BoundPiece& piece : pieces) {
    const BoundTensor& part = piece.planes[0];
    const TensorView& view = *part.found;
    if (view.shape.rank() == 0 || view.shape != first.found->shape || view.dtype != first.found->dtype)
      fail<FileError>("tensor ", part.name, ": expected ", name_of(first.found->dtype), ' ',
                      shape_text(first.found->shape), " like ", first.name, ", found ", name_of(view.dtype), ' ',
                      shape_text(view.shape));
    joined.parts.push_back(view.bytes);
  }
  Shape whole{std::int64_t(pieces.size()) * joined.shape[0]};
  for (int d = 1; d < joined.shape.rank(); ++d) whole.push_back(joined.shape[d]);
  joined.shape = whole;
  return joined;
}

/// The tensors of one weight as the other format has them.
inline void convert_weight(const BoundWeight& weight, Dialect target, std::vector<ConvertedTensor>& to) {
  const PartName& whole = *weight.name.part;
  const auto renamed = [&](const PartName& row, int expert, std::string_view suffix) {
    return with_numbers(name_pattern(row, target), weight.slot.layer, std::max(0, expert)) + std::string(suffix);
  };
  const bool is_whole = weight.pieces[0].row == &whole, becomes_whole = !whole.files.in(target).empty();
  if (is_whole == becomes_whole) {
    for (const BoundPiece& piece : weight.pieces) {
      for (std::size_t plane = 0; plane < piece.planes.size(); ++plane) {
        const TensorView& view = *piece.planes[plane].found;
        to.push_back(
            {renamed(*piece.row, piece.expert, piece.form.suffixes[plane]), view.dtype, view.shape, {view.bytes}});
      }
    }
    return;
  }
  // The tower's q, k and v, of one height.
  const StoredForm& form = weight.pieces[0].form;
  if (form.as != StoredAs::scalars)
    fail<FileError>("tensor ", weight.pieces[0].planes[0].name, ": only scalars can be joined or cut");
  if (becomes_whole) {
    to.push_back(joined_tensor(weight.pieces, renamed(whole, -1, form.suffixes[0])));
    return;
  }
  const BoundTensor& tensor = weight.pieces[0].planes[0];
  const int parts = number_of_parts(whole);
  const Shape& shape = tensor.found->shape;
  if (shape.rank() == 0 || shape[0] % parts != 0)
    fail<FileError>("tensor ", tensor.name, ": expected ", parts, " parts of one height, found ", shape_text(shape));
  const std::int64_t height = shape[0] / parts;
  for (int part = 0; part < parts; ++part)
    to.push_back(some_rows(*tensor.found, renamed(*find_part(whole, std::size_t(part)), -1, form.suffixes[0]),
                           part * height, height));
}

/// All tensors of a folder as the other format has them. Throws FileError where one is unknown, missing or misshapen.
inline std::vector<ConvertedTensor> converted_tensors(const FolderWeights& files, const ModelFacts& facts,
                                                      FolderFormat target, const std::string& folder) {
  const Binding binding = bind_weights(slots_in(files, facts, folder), facts, files);
  if (const std::string differences = binding_differences(binding); !differences.empty())
    fail<FileError>(folder, ": tensors cannot be converted:", differences);
  std::vector<ConvertedTensor> tensors;
  try {
    for (const BoundWeight& weight : binding.weights) convert_weight(weight, dialect_of(target), tensors);
  } catch (const FileError& error) {
    fail<FileError>(folder, ": ", error.what());
  }
  return tensors;
}

inline void write_shard(const std::filesystem::path& path, std::span<const ConvertedTensor> tensors) {
  std::vector<NamedTensor> named;
  std::vector<std::vector<std::byte>> joined;
  joined.reserve(tensors.size());
  for (const ConvertedTensor& tensor : tensors) {
    std::span<const std::byte> bytes = tensor.parts[0];
    if (tensor.parts.size() > 1) {
      std::vector<std::byte>& whole = joined.emplace_back();
      for (const auto& part : tensor.parts) whole.insert(whole.end(), part.begin(), part.end());
      bytes = whole;
    }
    named.push_back({tensor.name, {tensor.dtype, tensor.shape, bytes}});
  }
  write_safetensors(path, named, {{"format", "pt"}});
}

inline void write_json(const std::filesystem::path& path, const Json& json) {
  std::ofstream file(path);
  if (!(file << json.dump(2) << '\n') || !file.flush()) fail<FileError>(path.string(), ": cannot be written");
}

}  // namespace detail

/// Writes the checkpoint of folder `from` to the new folder `to` in the format `target`, in files of at most 5 GB.
/// Weights keep their bits. What the target's config files have no place for is kept in them under one key, so that
/// converting back gives the same weights and the same configs. Files that both formats share are copied. Throws
/// FileError and ConfigError; config.json is written last.
inline void convert_folder(const std::filesystem::path& from, const std::filesystem::path& to, FolderFormat target,
                           const ConvertedTokens& tokens, const ProgressCallback& progress = {}) {
  namespace fs = std::filesystem;
  constexpr std::int64_t shard_bytes = 5'000'000'000;
  const CheckpointConfig known = read_checkpoint_config(from);
  if (known.facts.format == target)
    fail<FileError>(from.string(), ": expected a folder in the other format, found the wanted one");
  if (known.vlm.projector.order != ShuffleOrder::v2)
    fail<ConfigError>((from / "config.json").string(),
                      ": ps_version: expected v2, the only order of the HF format, found v1");
  if (fs::exists(to) && !fs::is_empty(to))
    fail<FileError>(to.string(), ": expected a new or empty folder, found files in it");
  const FolderWeights files(from);
  const auto tensors = detail::converted_tensors(files, known.facts, target, from.string());
  fs::create_directories(to);

  std::vector<std::size_t> ends;  // of the shards
  std::int64_t total = 0, bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t size = *bytes_of(tensors[i].dtype, tensors[i].shape);
    if (bytes > 0 && bytes + size > shard_bytes) ends.push_back(i), bytes = 0;
    bytes += size;
    total += size;
  }
  ends.push_back(tensors.size());
  const auto number = [](std::size_t n) {
    return std::string(5 - std::min<std::size_t>(5, std::to_string(n).size()), '0') + std::to_string(n);
  };
  Json weight_map = Json::object();
  std::int64_t done = 0;
  for (std::size_t shard = 0; shard < ends.size(); ++shard) {
    const std::size_t first = shard > 0 ? ends[shard - 1] : 0;
    const std::string name = ends.size() == 1
                                 ? "model.safetensors"
                                 : "model-" + number(shard + 1) + "-of-" + number(ends.size()) + ".safetensors";
    if (progress) progress({done, total, name});
    detail::write_shard(to / name, std::span(tensors).subspan(first, ends[shard] - first));
    for (std::size_t i = first; i < ends[shard]; ++i) {
      weight_map[tensors[i].name] = name;
      done += *bytes_of(tensors[i].dtype, tensors[i].shape);
    }
  }
  if (ends.size() > 1)
    detail::write_json(to / "model.safetensors.index.json",
                       {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});

  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name == "config.json" || name == "preprocessor_config.json" || name == "generation_config.json" ||
                      name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    if (!ours && entry.is_regular_file()) fs::copy_file(entry.path(), to / name);
  }
  const auto read_or_empty = [&](const char* name) {
    return fs::exists(from / name) ? read_json(from / name) : Json::object();
  };
  detail::write_json(to / "preprocessor_config.json",
                     detail::converted_preprocessor(read_or_empty("preprocessor_config.json"), known, target));
  detail::write_json(to / "generation_config.json",
                     detail::converted_generation(read_or_empty("generation_config.json"), tokens, target));
  detail::write_json(to / "config.json",
                     detail::converted_config(read_json(from / "config.json"), known, tokens, target));
  if (progress) progress({total, total, {}});
}

}  // namespace ivl
