// config.json and its neighbours, in both published layouts, as a `VlmConfig` (structure) and `ModelFacts` (data).
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/config/vlm.hpp"
#include "ivl/core/error.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/json.hpp"

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
  if (kind == "default") return rope;
  if (kind != "dynamic" && kind != "yarn") scaling.refuse("rope_type", "default, dynamic or yarn", kind);
  rope.kind = kind == "dynamic" ? RopeKind::dynamic_ntk : RopeKind::yarn;
  rope.factor = scaling.get<double>("factor");
  if (!(rope.factor >= 1)) scaling.refuse("factor", "at least 1", std::to_string(rope.factor));
  scaling.expect("partial_rotary_factor", 1.0);
  if (rope.kind == RopeKind::dynamic_ntk) return rope;
  rope.context = scaling.size("original_max_position_embeddings");
  rope.beta_fast = scaling.get_or("beta_fast", rope.beta_fast);
  rope.beta_slow = scaling.get_or("beta_slow", rope.beta_slow);
  if (!(rope.beta_slow > 0 && rope.beta_fast >= rope.beta_slow))
    scaling.refuse("beta_fast", "at least beta_slow, and that more than 0",
                   std::to_string(rope.beta_fast) + " and " + std::to_string(rope.beta_slow));
  rope.truncate = scaling.get_or("truncate", rope.truncate);
  for (const char* key : {"mscale", "mscale_all_dim"}) {
    if (scaling.has(key)) scaling.refuse(key, "none", "a value");  // DeepSeek's way of saying attention_factor
  }
  rope.attention_factor = scaling.get_or("attention_factor", 0.1 * std::log(rope.factor) + 1);
  return rope;
}

/// Whose decoder it is, by the class or, where a file leaves it out, the type of the language model's config.
enum class LanguageFamily : std::uint8_t { qwen2, qwen3, qwen3_moe, gpt_oss, internlm3 };

struct LanguageFamilyName {
  LanguageFamily family;
  std::string_view architecture, model_type;
};

inline constexpr LanguageFamilyName language_family_names[] = {
    {LanguageFamily::qwen2, "Qwen2ForCausalLM", "qwen2"},
    {LanguageFamily::qwen3, "Qwen3ForCausalLM", "qwen3"},
    {LanguageFamily::qwen3_moe, "Qwen3MoeForCausalLM", "qwen3_moe"},
    {LanguageFamily::gpt_oss, "GptOssForCausalLM", "gpt_oss"},
    {LanguageFamily::internlm3, "InternLM3ForCausalLM", "internlm3"},
    {LanguageFamily::internlm3, "LlamaForCausalLM", "llama"},  // what transformers' converter makes of InternVL3-9B
};

inline LanguageFamily read_language_family(const ConfigReader& language) {
  const bool has_class = language.has("architectures");
  const auto classes = language.get_or<std::vector<std::string>>("architectures", {});
  const std::string type = has_class ? "" : language.get<std::string>("model_type");
  std::string known;
  for (const LanguageFamilyName& row : language_family_names) {
    if (has_class ? classes.size() == 1 && classes[0] == row.architecture : type == row.model_type) return row.family;
    known += (known.empty() ? "" : ", ") + std::string(has_class ? row.architecture : row.model_type);
  }
  language.refuse(has_class ? "architectures" : "model_type", "one of " + known,
                  has_class ? Json(classes).dump() : type);
}

/// `layer_types`, where it is there, must say that windows lie where `AttentionConfig::window_of` has them.
inline void check_layer_types(const ConfigReader& language, const DecoderConfig& decoder) {
  if (!language.has("layer_types")) return;
  const auto types = language.get<std::vector<std::string>>("layer_types");
  if (int(types.size()) != decoder.layers)
    language.refuse("layer_types", "one for each layer", std::to_string(types.size()));
  for (int layer = 0; layer < decoder.layers; ++layer) {
    const std::string_view expected = decoder.attention.window_of(layer) > 0 ? "sliding_attention" : "full_attention";
    if (types[std::size_t(layer)] != expected)
      language.refuse("layer_types", std::string(expected) + " in layer " + std::to_string(layer),
                      types[std::size_t(layer)]);
  }
}

inline DecoderConfig read_decoder(const ConfigReader& language, ModelFacts& facts) {
  const LanguageFamily family = read_language_family(language);
  DecoderConfig decoder;
  AttentionConfig& attention = decoder.attention;
  MoeConfig& moe = decoder.moe;
  decoder.layers = language.size("num_hidden_layers");
  decoder.hidden = language.size("hidden_size");
  attention.heads = language.size("num_attention_heads");
  attention.kv_heads = language.size("num_key_value_heads");
  attention.head_dim = language.size_or("head_dim", std::max(1, decoder.hidden / attention.heads));
  language.expect<std::string>("hidden_act", "silu");
  language.expect("use_sliding_window", false);
  switch (family) {
    case LanguageFamily::qwen2:
      attention.qkv_bias = true;
      break;
    case LanguageFamily::qwen3:
      attention.head_norm = true;
      language.expect("attention_bias", false);
      break;
    case LanguageFamily::qwen3_moe:
      attention.head_norm = true;
      language.expect("attention_bias", false);
      moe.experts = language.size(language.has("num_experts") ? "num_experts" : "num_local_experts");
      moe.active = language.size("num_experts_per_tok");
      moe.mlp_hidden = language.size("moe_intermediate_size");
      if (!language.get_or("norm_topk_prob", false)) language.refuse("norm_topk_prob", "true", "false, its default");
      language.expect("decoder_sparse_step", 1);
      language.expect("mlp_only_layers", Json::array());
      break;
    case LanguageFamily::gpt_oss:
      attention.qkv_bias = attention.out_bias = attention.sinks = true;
      attention.window = language.size("sliding_window");
      language.expect("attention_bias", true);
      moe.experts = language.size(language.has("num_local_experts") ? "num_local_experts" : "num_experts");
      moe.active = language.size(language.has("num_experts_per_tok") ? "num_experts_per_tok" : "experts_per_token");
      moe.mlp_hidden = language.size("intermediate_size");
      moe.activation = ExpertActivation::clamped_swi_glu;
      moe.bias = true;
      language.expect("swiglu_limit", 7.0);
      language.expect("swiglu_alpha", 1.702);
      if (!language.has("rope_parameters") && !language.has("rope_scaling"))
        language.refuse("rope_scaling", "an object, since transformers puts YaRN where there is none", "none");
      break;
    case LanguageFamily::internlm3:
      for (const char* key : {"qkv_bias", "bias", "attention_bias", "mlp_bias"}) language.expect(key, false);
      break;
  }
  if (moe.experts > 0 && moe.active > moe.experts)
    language.refuse("num_experts_per_tok", "at most the " + std::to_string(moe.experts) + " experts",
                    std::to_string(moe.active));
  if (!decoder.sparse()) decoder.mlp_hidden = language.size("intermediate_size");
  check_layer_types(language, decoder);
  facts.language_norm_eps = language.get<float>("rms_norm_eps");
  facts.vocab_rows = language.size("vocab_size");
  facts.rope = read_rope(language);
  // Dynamic NTK is there to stretch the context by its factor; YaRN's files say the stretched one.
  const double stretch = facts.rope.kind == RopeKind::dynamic_ntk ? facts.rope.factor : 1;
  facts.context_length = int(std::min(language.size("max_position_embeddings") * stretch, double(1 << 30)));
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
