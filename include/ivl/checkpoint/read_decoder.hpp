// The language model's object of config.json: `llm_config` or `text_config`. read_config.ipp alone includes this, so
// its bodies stay here.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/config_reader.hpp"
#include "ivl/checkpoint/family_structure.hpp"
#include "ivl/config/decoder.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

// ---- families ----------------------------------------------------------------------------------------------------
struct FamilyKinds {
  Family family;
  std::string_view architecture, model_type;
};

inline constexpr FamilyKinds family_kinds[] = {
    {Family::qwen2, "Qwen2ForCausalLM", "qwen2"},
    {Family::qwen3, "Qwen3ForCausalLM", "qwen3"},
    {Family::qwen3_moe, "Qwen3MoeForCausalLM", "qwen3_moe"},
    {Family::gpt_oss, "GptOssForCausalLM", "gpt_oss"},
    {Family::internlm3, "InternLM3ForCausalLM", "internlm3"},
    {Family::internlm3, "LlamaForCausalLM", "llama"},  // what transformers' converter makes of InternVL3-9B
};

/// A file may leave `architectures` or `model_type` out, not both. What it says must be known and agree.
inline Family read_family(const ConfigReader& language) {
  std::vector<std::string_view> architectures, types;
  for (const FamilyKinds& row : family_kinds) {
    architectures.push_back(row.architecture);
    types.push_back(row.model_type);
  }
  const std::string architecture = language.kind("architectures", architectures);
  const std::string type = language.kind("model_type", types);
  if (architecture.empty() && type.empty()) language.get<std::string>("model_type");  // throws
  const auto named = [&](const auto& wanted, const std::string& name) {
    return std::ranges::find(family_kinds, std::string_view(name), wanted)->family;
  };
  if (architecture.empty()) return named(&FamilyKinds::model_type, type);
  const Family family = named(&FamilyKinds::architecture, architecture);
  if (!type.empty() && named(&FamilyKinds::model_type, type) != family)
    language.refuse("model_type", std::string(name_of(family)) + " beside " + architecture, in_quotes(type));
  return family;
}

// ---- windows -----------------------------------------------------------------------------------------------------
/// `layer_types`, where it is there, says which layers have the window; in a family without windows, that none has.
inline void read_layer_types(const ConfigReader& language, DecoderConfig& decoder) {
  if (!language.has("layer_types")) return;
  constexpr std::string_view full = "full_attention", sliding = "sliding_attention";
  AttentionConfig& attention = decoder.attention;
  const auto types = language.get<std::vector<std::string>>("layer_types");
  if (int(types.size()) != decoder.layers)
    language.refuse("layer_types", "one for each layer", std::to_string(types.size()));
  for (std::size_t layer = 0; layer < types.size(); ++layer) {
    if (types[layer] == full || (types[layer] == sliding && attention.window > 0)) continue;
    language.refuse("layer_types",
                    std::string(attention.window > 0 ? "full_attention or sliding_attention" : full) + " in layer " +
                        std::to_string(layer),
                    types[layer]);
  }
  if (std::ranges::count(types, sliding) == 0) {
    attention.window = 0;
    attention.window_layers = WindowLayers::all;
    return;
  }
  for (const WindowLayers layers : {WindowLayers::even, WindowLayers::odd, WindowLayers::all}) {
    attention.window_layers = layers;
    int agree = 0;
    for (int layer = 0; layer < decoder.layers; ++layer)
      agree += (attention.window_of(layer) > 0) == (types[std::size_t(layer)] == sliding) ? 1 : 0;
    if (agree == decoder.layers) return;
  }
  language.refuse("layer_types", "sliding_attention in all layers, or in every second one", Json(types).dump());
}

// ---- the rest ----------------------------------------------------------------------------------------------------
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
  if (kind == "default") {
    scaling.expect("factor", 1.0);
    return rope;
  }
  if (kind != "dynamic" && kind != "yarn") scaling.refuse("rope_type", "default, dynamic or yarn", kind);
  rope.kind = kind == "dynamic" ? RopeKind::dynamic_ntk : RopeKind::yarn;
  rope.factor = scaling.get<double>("factor");
  if (!(rope.factor >= 1)) scaling.refuse("factor", "at least 1", std::to_string(rope.factor));
  if (rope.kind == RopeKind::dynamic_ntk) {
    scaling.expect("original_max_position_embeddings", rope.context);
    return rope;
  }
  rope.context = scaling.size("original_max_position_embeddings");
  rope.beta_fast = scaling.get_or("beta_fast", rope.beta_fast);
  rope.beta_slow = scaling.get_or("beta_slow", rope.beta_slow);
  if (!(rope.beta_slow > 0 && rope.beta_fast >= rope.beta_slow))
    scaling.refuse("beta_fast", "at least beta_slow, and that more than 0",
                   std::to_string(rope.beta_fast) + " and " + std::to_string(rope.beta_slow));
  rope.truncate = scaling.get_or("truncate", rope.truncate);
  rope.attention_factor = scaling.get_or("attention_factor", 0.1 * std::log(rope.factor) + 1);
  return rope;
}

inline DecoderConfig read_decoder(const ConfigReader& language, ModelFacts& facts) {
  const Family family = facts.family = read_family(language);
  DecoderConfig decoder;
  AttentionConfig& attention = decoder.attention;
  MoeConfig& moe = decoder.moe;
  decoder.layers = language.size("num_hidden_layers");
  decoder.hidden = language.size("hidden_size");
  attention.heads = language.size("num_attention_heads");
  attention.kv_heads = language.size("num_key_value_heads");
  attention.head_dim = language.size_or("head_dim", std::max(1, decoder.hidden / attention.heads));
  set_kinds(decoder, family);
  switch (family) {
    case Family::qwen2:
      break;
    case Family::qwen3:
      language.expect("attention_bias", false);
      break;
    case Family::qwen3_moe:
      language.expect("attention_bias", false);
      moe.experts = language.size(language.has("num_experts") ? "num_experts" : "num_local_experts");
      moe.active = language.size("num_experts_per_tok");
      moe.mlp_hidden = language.size("moe_intermediate_size");
      if (!language.get_or("norm_topk_prob", false)) language.refuse("norm_topk_prob", "true", "false, its default");
      break;
    case Family::gpt_oss:
      attention.window = language.size("sliding_window");
      language.expect("attention_bias", true);
      moe.experts = language.size(language.has("num_local_experts") ? "num_local_experts" : "num_experts");
      moe.active = language.size(language.has("num_experts_per_tok") ? "num_experts_per_tok" : "experts_per_token");
      moe.mlp_hidden = language.size("intermediate_size");
      if (!language.has("rope_parameters") && !language.has("rope_scaling"))
        language.refuse("rope_scaling", "an object, since transformers puts YaRN where there is none", "none");
      break;
    case Family::internlm3:
      language.expect("attention_bias", false);
      break;
  }
  language.expect("qkv_bias", attention.qkv_bias);
  if (moe.experts > 0 && moe.active > moe.experts)
    language.refuse("num_experts_per_tok", "at most the " + std::to_string(moe.experts) + " experts",
                    std::to_string(moe.active));
  if (!decoder.sparse()) decoder.mlp_hidden = language.size("intermediate_size");
  read_layer_types(language, decoder);
  facts.language_norm_eps = language.get<float>("rms_norm_eps");
  facts.vocab_rows = language.size("vocab_size");
  facts.rope = read_rope(language);
  // Dynamic NTK is there to stretch the context by its factor; YaRN's files say the stretched one.
  const double stretch = facts.rope.kind == RopeKind::dynamic_ntk ? facts.rope.factor : 1;
  facts.context_length = int(std::min(language.size("max_position_embeddings") * stretch, double(1 << 30)));
  return decoder;
}

}  // namespace ivl::detail
