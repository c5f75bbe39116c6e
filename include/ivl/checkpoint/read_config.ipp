// The bodies of read_config.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/config_reader.hpp"
#include "ivl/checkpoint/folder.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/read_decoder.hpp"
#include "ivl/checkpoint/read_quantization.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"

namespace ivl {

namespace detail {

/// The two layouts are two classes of two libraries. `architectures` may be absent, `model_type` not.
inline FolderFormat read_format(const ConfigReader& config) {
  constexpr std::string_view types[] = {"internvl_chat", "internvl"};
  constexpr std::string_view chat[] = {"InternVLChatModel"}, conditional[] = {"InternVLForConditionalGeneration"};
  config.get<std::string>("model_type");
  const bool github = config.kind("model_type", types) == "internvl_chat";
  config.kind("architectures", github ? chat : conditional);
  return github ? FolderFormat::github : FolderFormat::hf;
}

inline VitConfig read_vit(const ConfigReader& vision, ModelFacts& facts) {
  const bool github = facts.format == FolderFormat::github;
  // Both formats and all sizes of the tower share these, whoever wrote the file.
  constexpr std::string_view types[] = {"intern_vit_6b", "internvl_vision"};
  constexpr std::string_view architectures[] = {"InternVisionModel", "InternVLVisionModel"};
  vision.kind("model_type", types);
  vision.kind("architectures", architectures);
  VitConfig vit;
  vit.layers = vision.size("num_hidden_layers");
  vit.hidden = vision.size("hidden_size");
  vit.heads = vision.size("num_attention_heads");
  vit.mlp_hidden = vision.size("intermediate_size");
  vit.patch_px = vision.square("patch_size");
  vit.tile_px = vision.square("image_size");
  const auto norm = vision.get<std::string>("norm_type");
  if (norm == "rms_norm")
    vit.norm = NormKind::rms_norm;
  else if (norm != "layer_norm")
    vision.refuse("norm_type", "layer_norm or rms_norm", norm);
  vit.qkv_bias = vision.get<bool>(github ? "qkv_bias" : "attention_bias");
  vit.qk_norm = vision.get<bool>(github ? "qk_normalization" : "use_qk_norm");
  vision.expect<std::string>("hidden_act", "gelu");
  vision.expect("num_channels", 3);
  if (!github) {
    vision.expect("use_absolute_position_embeddings", true);
    vision.expect("use_mean_pooling", true);  // false would put a norm behind the tower
    vision.expect("use_mask_token", false);
  }
  facts.vision_norm_eps = vision.get<float>("layer_norm_eps");
  return vit;
}

/// `eos_token_id` is a number, a list of them, or absent.
inline std::vector<int> read_stop_ids(const ConfigReader& reader) {
  if (!reader.has("eos_token_id")) return {};
  if (reader.get<Json>("eos_token_id").is_array()) return reader.get<std::vector<int>>("eos_token_id");
  return {reader.get<int>("eos_token_id")};
}

/// What stands beside the two objects in one format.
inline void read_github_keys(const ConfigReader& config, CheckpointConfig& result) {
  ImageFacts& image = result.facts.image;
  const auto order = config.get_or<std::string>("ps_version", "v1");
  if (order != "v1" && order != "v2") config.refuse("ps_version", "v1 or v2", order);
  result.vlm.projector.order = order == "v1" ? ShuffleOrder::v1 : ShuffleOrder::v2;
  config.expect("select_layer", -1);
  config.expect("pad2square", false);
  config.expect("force_image_size", result.vlm.vit.tile_px);
  config.expect("flash_mode", false);
  result.facts.prompt_template = config.get<std::string>("template");
  image.thumbnail = config.get_or("use_thumbnail", false);
  image.min_tiles = config.get_or("min_dynamic_patch", 1);
  image.max_tiles = config.get_or("dynamic_image_size", false) ? config.get_or("max_dynamic_patch", 6) : 1;
}

inline void read_hf_keys(const ConfigReader& config) {
  config.expect("vision_feature_layer", -1);
  config.expect<std::string>("vision_feature_select_strategy", "default");
  config.expect<std::string>("projector_hidden_act", "gelu");
}

/// What generation_config.json adds.
inline void read_generation(const std::filesystem::path& generation, ModelFacts& facts) {
  const Json document = read_json(generation);
  const ConfigReader reader(document, generation.string());
  if (auto ids = read_stop_ids(reader); !ids.empty()) facts.stop_ids = std::move(ids);
  SamplingFacts& sampling = facts.sampling;
  sampling.sample = reader.get_or("do_sample", sampling.sample);
  sampling.temperature = reader.get_or("temperature", sampling.temperature);
  sampling.top_k = reader.get_or("top_k", sampling.top_k);
  sampling.top_p = reader.get_or("top_p", sampling.top_p);
  sampling.min_p = reader.get_or("min_p", sampling.min_p);
  sampling.max_new_tokens = reader.has("max_new_tokens") ? reader.size("max_new_tokens") : 0;
  sampling.max_length = reader.has("max_length") ? reader.size("max_length") : 0;
  sampling.repetition_penalty = reader.get_or("repetition_penalty", sampling.repetition_penalty);
}

/// What preprocessor_config.json adds.
inline void read_preprocessor(const std::filesystem::path& preprocessor, const VlmConfig& vlm, ModelFacts& facts) {
  const Json document = read_json(preprocessor);
  const ConfigReader reader(document, preprocessor.string());
  const auto statistics = [&](std::string_view key, std::array<float, 3>& to) {
    if (!reader.has(key)) return;
    const auto values = reader.get<std::vector<float>>(key);
    if (values.size() != 3) reader.refuse(key, "three numbers", std::to_string(values.size()));
    std::copy(values.begin(), values.end(), to.begin());
  };
  statistics("image_mean", facts.image.mean);
  statistics("image_std", facts.image.deviation);
  facts.image.min_tiles = reader.get_or("min_patches", facts.image.min_tiles);
  facts.image.max_tiles = reader.get_or("max_patches", facts.image.max_tiles);
  if (reader.has("size") && facts.format == FolderFormat::hf) {
    const int height = reader.inner("size").size("height"), width = reader.inner("size").size("width");
    if (height != vlm.vit.tile_px || width != vlm.vit.tile_px) {
      reader.refuse("size", "config.json's image_size " + std::to_string(vlm.vit.tile_px),
                    std::to_string(width) + " x " + std::to_string(height));
    }
  }
}

}  // namespace detail

IVL_INLINE CheckpointConfig parse_checkpoint_config(const Json& document, const std::string& where) {
  const detail::ConfigReader config(document, where);
  CheckpointConfig result;
  ModelFacts& facts = result.facts;
  facts.format = detail::read_format(config);
  const bool github = facts.format == FolderFormat::github;

  result.vlm.vit = detail::read_vit(config.inner("vision_config"), facts);
  const auto language = config.inner(github ? "llm_config" : "text_config");
  result.vlm.decoder = detail::read_decoder(language, facts);
  detail::check_quantization(document, where, facts.family);
  facts.tied_head = config.get_or("tie_word_embeddings", !github);  // each format's own default
  facts.stop_ids = detail::read_stop_ids(language);

  const double ratio = config.get_or("downsample_ratio", 0.5);
  if (!(ratio > 0 && ratio <= 1)) config.refuse("downsample_ratio", "more than 0, at most 1", std::to_string(ratio));
  result.vlm.projector.scale = int(std::lround(std::min(1 / ratio, 1024.0)));
  if (github)
    detail::read_github_keys(config, result);
  else
    detail::read_hf_keys(config);
  return result;
}

IVL_INLINE CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder) {
  check_folder(folder);
  detail::check_quantization_files(folder);
  const auto config = folder / "config.json";
  CheckpointConfig result = parse_checkpoint_config(read_json(config), config.string());
  if (const auto path = folder / "generation_config.json"; std::filesystem::exists(path))
    detail::read_generation(path, result.facts);
  if (const auto path = folder / "preprocessor_config.json"; std::filesystem::exists(path))
    detail::read_preprocessor(path, result.vlm, result.facts);
  return result;
}

}  // namespace ivl
