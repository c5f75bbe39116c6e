// The bodies of convert.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/convert.hpp"
#include "ivl/checkpoint/convert_tensors.hpp"
#include "ivl/checkpoint/lora.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"

namespace ivl {

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

// ---- the folder --------------------------------------------------------------------------------------------------
inline void write_shard(const std::filesystem::path& path, std::span<const ConvertedTensor> tensors,
                        const TensorSource& source) {
  std::set<const TensorView*> views;
  for (const ConvertedTensor& tensor : tensors) {
    for (const TensorPart& part : tensor.parts) views.insert(part.view);
  }
  for (const TensorView* view : views) source.prepare(*view);
  std::vector<NamedTensor> named;
  std::vector<std::vector<std::byte>> joined;
  joined.reserve(tensors.size());
  for (const ConvertedTensor& tensor : tensors) {
    std::span<const std::byte> bytes = tensor.parts[0].bytes();
    if (tensor.parts.size() > 1) {
      std::vector<std::byte>& whole = joined.emplace_back();
      for (const TensorPart& part : tensor.parts) whole.insert(whole.end(), part.bytes().begin(), part.bytes().end());
      bytes = whole;
    }
    named.push_back({tensor.name, {tensor.dtype, tensor.shape, bytes}});
  }
  write_safetensors(path, named, {{"format", "pt"}});
  for (const TensorView* view : views) source.release(*view);
}

inline void write_json(const std::filesystem::path& path, const Json& json) {
  std::ofstream file(path);
  if (!(file << json.dump(2) << '\n') || !file.flush()) fail<FileError>(path.string(), ": cannot be written");
}

/// Files of at most 5 GB, and their list where they are several.
inline void write_shards(const std::filesystem::path& to, std::span<const ConvertedTensor> tensors,
                         const TensorSource& source, const ProgressCallback& progress) {
  constexpr std::int64_t shard_bytes = 5'000'000'000;
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
    write_shard(to / name, tensors.subspan(first, ends[shard] - first), source);
    for (std::size_t i = first; i < ends[shard]; ++i) {
      weight_map[tensors[i].name] = name;
      done += *bytes_of(tensors[i].dtype, tensors[i].shape);
    }
  }
  if (ends.size() > 1)
    write_json(to / "model.safetensors.index.json",
               {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
  if (progress) progress({total, total, {}});
}

/// All files but the weights. config.json is written last.
inline void write_configs(const std::filesystem::path& from, const std::filesystem::path& to,
                          const CheckpointConfig& known, FolderFormat target, const ConvertedTokens& tokens) {
  namespace fs = std::filesystem;
  const bool same = known.facts.format == target;
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const bool converted = !same && (name == "preprocessor_config.json" || name == "generation_config.json");
    const bool ours = converted || name == "config.json" || name.ends_with(".safetensors") ||
                      name.ends_with(".safetensors.index.json");
    if (!ours && entry.is_regular_file()) fs::copy_file(entry.path(), to / name);
  }
  if (same) {
    fs::copy_file(from / "config.json", to / "config.json");
    return;
  }
  const auto read_or_empty = [&](const char* name) {
    return fs::exists(from / name) ? read_json(from / name) : Json::object();
  };
  write_json(to / "preprocessor_config.json",
             converted_preprocessor(read_or_empty("preprocessor_config.json"), known, target));
  write_json(to / "generation_config.json",
             converted_generation(read_or_empty("generation_config.json"), tokens, target));
  write_json(to / "config.json", converted_config(read_json(from / "config.json"), known, tokens, target));
}

}  // namespace detail

IVL_INLINE void convert_folder(const std::filesystem::path& from, const std::filesystem::path& to, FolderFormat target,
                               const ConvertedTokens& tokens, const LoadOptions& options) {
  namespace fs = std::filesystem;
  const CheckpointConfig known = read_checkpoint_config(from);
  const bool same = known.facts.format == target;
  if (same && options.lora.empty())
    fail<FileError>(from.string(), ": expected a folder in the other format, found the wanted one");
  if (!same && known.vlm.projector.order != ShuffleOrder::v2)
    fail<ConfigError>((from / "config.json").string(),
                      ": ps_version: expected v2, the only order of the HF format, found v1");
  if (fs::exists(to) && !fs::is_empty(to))
    fail<FileError>(to.string(), ": expected a new or empty folder, found files in it");
  const FolderWeights files(from);
  std::optional<MergedWeights> merged;
  if (!options.lora.empty()) merged.emplace(files, options.lora, known.facts);
  const TensorSource source = merged ? TensorSource(*merged) : TensorSource(files);
  const auto tensors = detail::converted_tensors(source, known.facts, target, from.string(), options);
  fs::create_directories(to);
  detail::write_shards(to, tensors, source, options.progress);
  detail::write_configs(from, to, known, target, tokens);
}

}  // namespace ivl
