// config.json and its neighbours, in both published layouts, as a `VlmConfig` (structure) and `ModelFacts` (data).
#pragma once
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/config/facts.hpp"
#include "ivl/config/vlm.hpp"
#include "ivl/core/error.hpp"
#include "ivl/io/json.hpp"

namespace ivl {

/// What a checkpoint folder says about itself.
struct CheckpointConfig {
  VlmConfig vlm;
  ModelFacts facts;
};

namespace detail {

/// Reads one object of config.json; every error starts with where it stands.
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  template <class Value>
  Value get(std::string_view key) const {
    return field<Value>(object_, key, where_);
  }
  template <class Value>
  Value get_or(std::string_view key, Value otherwise) const {
    return field_or<Value>(object_, key, std::move(otherwise), where_);
  }
  bool has(std::string_view key) const { return find_field(object_, key, where_) != nullptr; }
  ConfigReader inner(std::string_view key) const {
    return {object_field(object_, key, where_), member_place(where_, key)};
  }

  /// A size: positive, and small enough that products of three of them fit 63 bits.
  int size(std::string_view key) const { return checked_size(key, get<int>(key)); }
  int size_or(std::string_view key, int otherwise) const { return checked_size(key, get_or<int>(key, otherwise)); }

  /// A pixel count that is written as 448 or as [448, 448].
  int square(std::string_view key) const {
    const Json value = get<Json>(key);
    if (!value.is_array()) return size(key);
    const auto sides = get<std::vector<int>>(key);
    if (sides.size() != 2 || sides[0] != sides[1]) refuse(key, "one number, or two equal ones", value.dump());
    return checked_size(key, sides[0]);
  }

  /// A value that the library knows only one meaning of.
  template <class Value>
  void expect(std::string_view key, const Value& only) const {
    const Value found = get_or<Value>(key, only);
    if (found != only) refuse(key, Json(only).dump(), Json(found).dump());
  }

  [[noreturn]] void refuse(std::string_view key, std::string_view expected, std::string_view found) const {
    fail<ConfigError>(where_, ": ", key, ": expected ", expected, ", found ", found);
  }

 private:
  int checked_size(std::string_view key, int value) const {
    constexpr int largest = 1 << 20;
    if (value < 1 || value > largest) refuse(key, "a size from 1 to " + std::to_string(largest), std::to_string(value));
    return value;
  }

  const Json& object_;
  std::string where_;
};

inline VitConfig read_vit(const ConfigReader& vision, ModelFacts& facts) {
  const bool github = facts.format == FolderFormat::github;
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

inline RopeFacts read_rope(const ConfigReader& language) {
  RopeFacts rope;
  rope.context = language.size("max_position_embeddings");
  // Newer files keep theta and scaling together in `rope_parameters`.
  const bool together = language.has("rope_parameters");
  const std::string_view scaling_key = together ? "rope_parameters" : "rope_scaling";
  rope.base = together ? language.inner(scaling_key).get<double>("rope_theta") : language.get<double>("rope_theta");
  if (!(rope.base > 0)) language.refuse("rope_theta", "a positive number", std::to_string(rope.base));
  if (!language.has(scaling_key)) return rope;
  const ConfigReader scaling = language.inner(scaling_key);
  const auto kind = scaling.get_or<std::string>("rope_type", scaling.get_or<std::string>("type", "default"));
  if (kind == "dynamic") {
    rope.kind = RopeKind::dynamic_ntk;
    rope.factor = scaling.get<double>("factor");
    if (!(rope.factor >= 1)) scaling.refuse("factor", "at least 1", std::to_string(rope.factor));
  } else if (kind != "default") {
    scaling.refuse("rope_type", "default or dynamic", kind);
  }
  return rope;
}

inline DecoderConfig read_decoder(const ConfigReader& language, ModelFacts& facts) {
  const auto architecture = language.get<std::vector<std::string>>("architectures");
  const bool qwen2 = architecture == std::vector<std::string>{"Qwen2ForCausalLM"};
  const bool qwen3 = architecture == std::vector<std::string>{"Qwen3ForCausalLM"};
  if (!qwen2 && !qwen3)
    language.refuse("architectures", "[\"Qwen2ForCausalLM\"] or [\"Qwen3ForCausalLM\"]", Json(architecture).dump());
  DecoderConfig decoder;
  decoder.layers = language.size("num_hidden_layers");
  decoder.hidden = language.size("hidden_size");
  decoder.mlp_hidden = language.size("intermediate_size");
  decoder.attention.heads = language.size("num_attention_heads");
  decoder.attention.kv_heads = language.size("num_key_value_heads");
  decoder.attention.head_dim = language.size_or("head_dim", std::max(1, decoder.hidden / decoder.attention.heads));
  decoder.attention.qkv_bias = qwen2;
  decoder.attention.head_norm = qwen3;
  language.expect<std::string>("hidden_act", "silu");
  language.expect("use_sliding_window", false);
  if (qwen3) language.expect("attention_bias", false);
  facts.language_norm_eps = language.get<float>("rms_norm_eps");
  facts.vocab_rows = language.size("vocab_size");
  facts.rope = read_rope(language);
  // Dynamic NTK is there to stretch the context by its factor.
  const double stretch = facts.rope.kind == RopeKind::dynamic_ntk ? facts.rope.factor : 1;
  facts.context_length = int(std::min(facts.rope.context * stretch, double(1 << 30)));
  return decoder;
}

/// `eos_token_id` is a number, a list of them, or absent.
inline std::vector<int> read_stop_ids(const ConfigReader& reader) {
  if (!reader.has("eos_token_id")) return {};
  if (reader.get<Json>("eos_token_id").is_array()) return reader.get<std::vector<int>>("eos_token_id");
  return {reader.get<int>("eos_token_id")};
}

}  // namespace detail

/// config.json alone. Throws FileError for a malformed document, ConfigError for a value that is not supported.
inline CheckpointConfig parse_checkpoint_config(const Json& document, const std::string& where) {
  const detail::ConfigReader config(document, where);
  CheckpointConfig result;
  ModelFacts& facts = result.facts;
  const auto type = config.get<std::string>("model_type");
  if (type == "internvl_chat")
    facts.format = FolderFormat::github;
  else if (type == "internvl")
    facts.format = FolderFormat::hf;
  else
    config.refuse("model_type", "internvl_chat or internvl", type);
  const bool github = facts.format == FolderFormat::github;

  result.vlm.vit = detail::read_vit(config.inner("vision_config"), facts);
  const auto language = config.inner(github ? "llm_config" : "text_config");
  result.vlm.decoder = detail::read_decoder(language, facts);
  facts.tied_head = config.get_or("tie_word_embeddings", !github);  // each format's own default
  facts.stop_ids = detail::read_stop_ids(language);

  const double ratio = config.get_or("downsample_ratio", 0.5);
  if (!(ratio > 0 && ratio <= 1)) config.refuse("downsample_ratio", "more than 0, at most 1", std::to_string(ratio));
  result.vlm.projector.scale = int(std::lround(std::min(1 / ratio, 1024.0)));
  if (github) {
    const auto order = config.get_or<std::string>("ps_version", "v1");
    if (order != "v1" && order != "v2") config.refuse("ps_version", "v1 or v2", order);
    result.vlm.projector.order = order == "v1" ? ShuffleOrder::v1 : ShuffleOrder::v2;
    config.expect("select_layer", -1);
    config.expect("pad2square", false);
    config.expect("force_image_size", result.vlm.vit.tile_px);
    config.expect("flash_mode", false);
    facts.prompt_template = config.get<std::string>("template");
    facts.image.thumbnail = config.get_or("use_thumbnail", false);
    facts.image.min_tiles = config.get_or("min_dynamic_patch", 1);
    facts.image.max_tiles = config.get_or("dynamic_image_size", false) ? config.get_or("max_dynamic_patch", 6) : 1;
  } else {
    config.expect("vision_feature_layer", -1);
    config.expect<std::string>("vision_feature_select_strategy", "default");
    config.expect<std::string>("projector_hidden_act", "gelu");
  }
  return result;
}

/// config.json, and what generation_config.json and preprocessor_config.json add to it where they exist.
/// Throws FileError and ConfigError.
inline CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  CheckpointConfig result = parse_checkpoint_config(read_json(path), path.string());
  ModelFacts& facts = result.facts;

  if (const auto generation = folder / "generation_config.json"; std::filesystem::exists(generation)) {
    const Json document = read_json(generation);
    const detail::ConfigReader reader(document, generation.string());
    if (auto ids = detail::read_stop_ids(reader); !ids.empty()) facts.stop_ids = std::move(ids);
    SamplingFacts& sampling = facts.sampling;
    sampling.sample = reader.get_or("do_sample", sampling.sample);
    sampling.temperature = reader.get_or("temperature", sampling.temperature);
    sampling.top_k = reader.get_or("top_k", sampling.top_k);
    sampling.top_p = reader.get_or("top_p", sampling.top_p);
    sampling.repetition_penalty = reader.get_or("repetition_penalty", sampling.repetition_penalty);
  }
  if (const auto preprocessor = folder / "preprocessor_config.json"; std::filesystem::exists(preprocessor)) {
    const Json document = read_json(preprocessor);
    const detail::ConfigReader reader(document, preprocessor.string());
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
      if (height != result.vlm.vit.tile_px || width != result.vlm.vit.tile_px) {
        reader.refuse("size", "config.json's image_size " + std::to_string(result.vlm.vit.tile_px),
                      std::to_string(width) + " x " + std::to_string(height));
      }
    }
  }
  return result;
}

}  // namespace ivl
