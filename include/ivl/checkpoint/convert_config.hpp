// config.json and its neighbours in the other published layout, or made of what a GGUF pair says. convert.ipp alone
// includes this, so its bodies stay here.
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "ivl/checkpoint/checkpoint_config.hpp"
#include "ivl/checkpoint/converted_tokens.hpp"
#include "ivl/checkpoint/read_decoder.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

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

/// What a format says beside the objects of tower and language model.
inline void add_outer_keys(const CheckpointConfig& known, const ConvertedTokens& tokens, FolderFormat target,
                           Json& result) {
  result["tie_word_embeddings"] = known.facts.tied_head;  // the formats have different defaults
  if (target == FolderFormat::github) {
    const std::string& own = known.facts.prompt_template;  // none in the HF format
    const bool harmony = known.facts.family == Family::gpt_oss;
    result["model_type"] = "internvl_chat";
    result["architectures"] = {"InternVLChatModel"};
    result["ps_version"] = "v2";
    result["select_layer"] = -1;
    result["template"] = !own.empty() ? own : harmony ? "internvl3_5_gpt_oss" : "internvl2_5";
    result["force_image_size"] = known.vlm.vit.tile_px;
    result["dynamic_image_size"] = true;
    result["use_thumbnail"] = true;
    result["min_dynamic_patch"] = known.facts.image.min_tiles;
    result["max_dynamic_patch"] = known.facts.image.max_tiles;
  } else {
    result["model_type"] = "internvl";
    result["architectures"] = {"InternVLForConditionalGeneration"};
    result["image_seq_length"] = known.vlm.tokens_per_tile();
    result["image_token_id"] = tokens.image;
    result["projector_hidden_act"] = "gelu";
    result["vision_feature_layer"] = -1;
    result["vision_feature_select_strategy"] = "default";
  }
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
  for (const char* key : {"model_type", "architectures", "tie_word_embeddings"}) config.erase(key);
  if (github) {
    for (const char* key : {"image_seq_length", "image_token_id", "projector_hidden_act", "vision_feature_layer",
                            "vision_feature_select_strategy"})
      config.erase(key);
  }
  Json outer = Json::object();
  add_outer_keys(known, tokens, target, outer);
  result.update(outer);
  remember(std::move(config), target, result);
  result["model_type"] = outer["model_type"];
  return result;
}

/// What a format says of pictures. `config` gives up the keys that both formats have.
inline Json preprocessor_of(Json& config, const CheckpointConfig& known, FolderFormat target) {
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
  return result;
}

inline Json converted_preprocessor(Json config, const CheckpointConfig& known, FolderFormat target) {
  Json result = preprocessor_of(config, known, target);
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

/// Without what says that weights are quantised, which they are no more.
inline Json without_quantization(Json config) {
  config.erase("quantization_config");
  for (const char* key : {"llm_config", "text_config", "vision_config"}) {
    if (const auto inner = config.find(key); inner != config.end()) inner->erase("quantization_config");
  }
  return config;
}

// ---- configs of a structure, where no file has them --------------------------------------------------------------
/// 1e-6, not float's 9.999999974752427e-07.
inline double as_written(float number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text - 1, number).ptr;
  *end = '\0';
  return std::strtod(text, nullptr);
}

inline Json rope_scaling_of(const ModelFacts& facts) {
  const RopeFacts& rope = facts.rope;
  switch (rope.kind) {
    case RopeKind::plain:
      break;
    case RopeKind::dynamic_ntk:
      return {{"rope_type", "dynamic"}, {"type", "dynamic"}, {"factor", rope.factor}};
    case RopeKind::yarn:
      return {{"rope_type", "yarn"},
              {"factor", rope.factor},
              {"original_max_position_embeddings", rope.context},
              {"beta_fast", rope.beta_fast},
              {"beta_slow", rope.beta_slow},
              {"truncate", rope.truncate},
              {"attention_factor", rope.attention_factor}};
  }
  // Where GPT-OSS's file says nothing, transformers takes YaRN.
  return facts.family == Family::gpt_oss ? Json{{"rope_type", "default"}} : Json(nullptr);
}

/// `llm_config` and `text_config` alike.
inline Json language_config_of(const CheckpointConfig& known) {
  const DecoderConfig& decoder = known.vlm.decoder;
  const AttentionConfig& attention = decoder.attention;
  const ModelFacts& facts = known.facts;
  const FamilyKinds& kinds = *std::ranges::find(family_kinds, facts.family, &FamilyKinds::family);
  Json result = {
      {"architectures", {kinds.architecture}},
      {"model_type", kinds.model_type},
      {"torch_dtype", "bfloat16"},
      {"num_hidden_layers", decoder.layers},
      {"hidden_size", decoder.hidden},
      {"num_attention_heads", attention.heads},
      {"num_key_value_heads", attention.kv_heads},
      {"head_dim", attention.head_dim},
      {"intermediate_size", decoder.sparse() ? decoder.moe.mlp_hidden : decoder.mlp_hidden},
      {"hidden_act", "silu"},
      {"rms_norm_eps", as_written(facts.language_norm_eps)},
      {"vocab_size", facts.vocab_rows},
      {"tie_word_embeddings", facts.tied_head},
      {"max_position_embeddings", facts.rope.kind == RopeKind::yarn ? facts.context_length : facts.rope.context},
      {"rope_theta", facts.rope.base},
      {"rope_scaling", rope_scaling_of(facts)}};
  if (facts.family != Family::qwen2) result["attention_bias"] = attention.qkv_bias;
  if (facts.family == Family::internlm3) result.update({{"bias", false}, {"qkv_bias", false}});
  if (facts.family == Family::qwen3_moe)
    result.update({{"num_experts", decoder.moe.experts},
                   {"num_experts_per_tok", decoder.moe.active},
                   {"moe_intermediate_size", decoder.moe.mlp_hidden},
                   {"norm_topk_prob", true},
                   {"decoder_sparse_step", 1},
                   {"mlp_only_layers", Json::array()}});
  if (facts.family == Family::gpt_oss) {
    Json types = Json::array();
    for (int layer = 0; layer < decoder.layers; ++layer)
      types.push_back(attention.window_of(layer) > 0 ? "sliding_attention" : "full_attention");
    result.update({{"num_local_experts", decoder.moe.experts},
                   {"num_experts_per_tok", decoder.moe.active},
                   {"sliding_window", attention.window},
                   {"layer_types", types},
                   {"swiglu_limit", 7.0}});
  }
  return result;
}

inline Json vision_config_of(const CheckpointConfig& known, FolderFormat target) {
  const VitConfig& vit = known.vlm.vit;
  const Json github = {{"architectures", {"InternVisionModel"}},
                       {"model_type", "intern_vit_6b"},
                       {"torch_dtype", "bfloat16"},
                       {"num_hidden_layers", vit.layers},
                       {"hidden_size", vit.hidden},
                       {"num_attention_heads", vit.heads},
                       {"intermediate_size", vit.mlp_hidden},
                       {"image_size", vit.tile_px},
                       {"patch_size", vit.patch_px},
                       {"hidden_act", "gelu"},
                       {"norm_type", vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm"},
                       {"layer_norm_eps", as_written(known.facts.vision_norm_eps)},
                       {"qkv_bias", vit.qkv_bias},
                       {"qk_normalization", vit.qk_norm}};
  return target == FolderFormat::github ? github : converted_vision(github, target);
}

inline Json config_of(const CheckpointConfig& known, const ConvertedTokens& tokens, FolderFormat target) {
  const bool github = target == FolderFormat::github;
  Json result = {{github ? "llm_config" : "text_config", language_config_of(known)},
                 {"vision_config", vision_config_of(known, target)},
                 {"downsample_ratio", 1.0 / known.vlm.projector.scale},
                 {"torch_dtype", "bfloat16"}};
  add_outer_keys(known, tokens, target, result);
  return result;
}

}  // namespace ivl::detail
