// The bodies of read_gguf.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/family_structure.hpp"
#include "ivl/checkpoint/read_gguf.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

namespace detail {

/// The keys of one file that begin alike; every error starts with the key.
class GgufKeys {
 public:
  GgufKeys(const Gguf& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const { return file_.has(full(key)); }
  template <class Value>
  Value get(std::string_view key) const {
    return file_.get<Value>(full(key));
  }
  template <class Value>
  Value get_or(std::string_view key, Value otherwise) const {
    return file_.get_or<Value>(full(key), std::move(otherwise));
  }
  /// Small enough that products of three sizes fit 63 bits, as in config.json.
  int size(std::string_view key) const {
    constexpr int largest = 1 << 20;
    const int value = get<int>(key);
    if (value < 1 || value > largest) refuse(key, "a size from 1 to " + std::to_string(largest), std::to_string(value));
    return value;
  }
  int size_or(std::string_view key, int otherwise) const { return has(key) ? size(key) : otherwise; }
  void expect(std::string_view key, std::string_view only) const {
    if (const auto found = get_or<std::string_view>(key, only); found != only) refuse(key, only, in_quotes(found));
  }
  [[noreturn]] void refuse(std::string_view key, std::string_view expected, std::string_view found) const {
    fail<ConfigError>(file_.where(), ": ", full(key), ": expected ", expected, ", found ", found);
  }

 private:
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

  const Gguf& file_;
  std::string prefix_;
};

// ---- the language model --------------------------------------------------------------------------------------------
struct GgufArchitecture {
  std::string_view name;
  Family family;
};
inline constexpr GgufArchitecture gguf_architectures[] = {
    {"qwen2", Family::qwen2},     {"qwen3", Family::qwen3},     {"qwen3moe", Family::qwen3_moe},
    {"gpt-oss", Family::gpt_oss}, {"llama", Family::internlm3},  // what the converter makes of InternVL3-9B
};

inline Family family_in(const Gguf& model) {
  const auto name = model.get<std::string_view>("general.architecture");
  for (const GgufArchitecture& row : gguf_architectures) {
    if (row.name == name) return row.family;
  }
  fail<ConfigError>(model.where(),
                    ": general.architecture: expected qwen2, qwen3, qwen3moe, gpt-oss or llama (InternLM3), found ",
                    in_quotes(name), name == "internlm2" ? ", which no InternVL3 or InternVL3.5 has" : "");
}

inline std::string_view architecture_of(Family family) {
  return std::ranges::find(gguf_architectures, family, &GgufArchitecture::family)->name;
}

/// The files of these families say nothing of the stretching that their checkpoints are published with.
inline double published_ntk_factor(Family family) {
  return family == Family::qwen2 ? 2 : family == Family::internlm3 ? 6 : 1;
}

/// No key holds it; GPT-OSS is published without.
constexpr bool truncates_yarn(Family family) { return family != Family::gpt_oss; }

inline RopeFacts read_gguf_rope(const GgufKeys& keys, Family family, int head_dim, std::vector<std::string>& notes) {
  RopeFacts rope;
  rope.context = keys.size("context_length");
  rope.base = keys.get_or<double>("rope.freq_base", 10000);
  if (!(rope.base > 0)) keys.refuse("rope.freq_base", "a positive number", std::to_string(rope.base));
  if (const int turned = keys.get_or("rope.dimension_count", head_dim); turned != head_dim)
    keys.refuse("rope.dimension_count", "that of a head, " + std::to_string(head_dim), std::to_string(turned));
  const auto kind = keys.get_or<std::string_view>("rope.scaling.type", "none");
  if (kind == "none") {
    if (!keys.has("rope.scaling.type")) rope.factor = published_ntk_factor(family);
    if (rope.factor > 1) {
      rope.kind = RopeKind::dynamic_ntk;
      notes.push_back("the GGUF file does not say how positions beyond " + std::to_string(rope.context) +
                      " are turned: as the published checkpoints have it, by dynamic NTK with the factor " +
                      std::to_string(int(rope.factor)));
    }
    return rope;
  }
  if (kind != "yarn") keys.refuse("rope.scaling.type", "none or yarn", in_quotes(kind));
  rope.kind = RopeKind::yarn;
  rope.factor = keys.get<double>("rope.scaling.factor");
  if (!(rope.factor >= 1)) keys.refuse("rope.scaling.factor", "at least 1", std::to_string(rope.factor));
  rope.context = keys.size("rope.scaling.original_context_length");
  rope.beta_fast = keys.get_or("rope.scaling.yarn_beta_fast", rope.beta_fast);
  rope.beta_slow = keys.get_or("rope.scaling.yarn_beta_slow", rope.beta_slow);
  if (!(rope.beta_slow > 0 && rope.beta_fast >= rope.beta_slow))
    keys.refuse("rope.scaling.yarn_beta_fast", "at least yarn_beta_slow, and that more than 0",
                std::to_string(rope.beta_fast) + " and " + std::to_string(rope.beta_slow));
  rope.truncate = truncates_yarn(family);
  rope.attention_factor = keys.get_or("rope.scaling.yarn_attn_factor", 1.0) * (0.1 * std::log(rope.factor) + 1);
  return rope;
}

inline void read_gguf_language(const Gguf& model, CheckpointConfig& config) {
  ModelFacts& facts = config.facts;
  DecoderConfig& decoder = config.vlm.decoder;
  AttentionConfig& attention = decoder.attention;
  facts.family = family_in(model);
  const GgufKeys keys(model, std::string(model.get<std::string_view>("general.architecture")) + '.');
  set_kinds(decoder, facts.family);
  decoder.layers = keys.size("block_count");
  decoder.hidden = keys.size("embedding_length");
  attention.heads = keys.size("attention.head_count");
  attention.kv_heads = keys.size_or("attention.head_count_kv", attention.heads);
  attention.head_dim = keys.size_or("attention.key_length", std::max(1, decoder.hidden / attention.heads));
  if (const int values = keys.size_or("attention.value_length", attention.head_dim); values != attention.head_dim)
    keys.refuse("attention.value_length", "that of keys, " + std::to_string(attention.head_dim),
                std::to_string(values));
  if (facts.family == Family::gpt_oss)
    attention.window = keys.size("attention.sliding_window");
  else if (keys.get_or("attention.sliding_window", 0) != 0)
    keys.refuse("attention.sliding_window", "none", "one");
  if (facts.family == Family::qwen3_moe || facts.family == Family::gpt_oss) {
    decoder.moe.experts = keys.size("expert_count");
    decoder.moe.active = keys.size("expert_used_count");
    decoder.moe.mlp_hidden = keys.has("expert_feed_forward_length") ? keys.size("expert_feed_forward_length")
                                                                    : keys.size("feed_forward_length");
    if (decoder.moe.active > decoder.moe.experts)
      keys.refuse("expert_used_count", "at most the " + std::to_string(decoder.moe.experts) + " experts",
                  std::to_string(decoder.moe.active));
  } else {
    decoder.mlp_hidden = keys.size("feed_forward_length");
  }
  facts.language_norm_eps = keys.get<float>("attention.layer_norm_rms_epsilon");
  facts.rope = read_gguf_rope(keys, facts.family, attention.head_dim, config.notes);
  const double stretch = facts.rope.kind == RopeKind::dynamic_ntk ? facts.rope.factor : 1;
  facts.context_length = int(std::min(keys.size("context_length") * stretch, double(1 << 30)));

  const GgufTensor* embedding = model.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank() != 2)
    fail<FileError>(model.where(), ": token_embd.weight: expected [tokens, ", decoder.hidden, "], found ",
                    embedding == nullptr ? "none" : shape_text(embedding->shape));
  facts.vocab_rows = int(std::min<std::int64_t>(embedding->shape[0], 1 << 30));
  facts.tied_head = model.find("output.weight") == nullptr;
  const GgufKeys own(model, "ivl.");
  const auto format = own.get_or<std::string_view>("folder_format", "github");
  if (format != "github" && format != "hf") own.refuse("folder_format", "github or hf", in_quotes(format));
  facts.format = format == "hf" ? FolderFormat::hf : FolderFormat::github;
  if (facts.format == FolderFormat::github)
    facts.prompt_template = own.get_or<std::string_view>(
        "prompt_template", facts.family == Family::gpt_oss ? "internvl3_5_gpt_oss" : "internvl2_5");
}

// ---- the tower and the projector -----------------------------------------------------------------------------------
inline void read_gguf_vision(const Gguf& mmproj, CheckpointConfig& config) {
  const GgufKeys clip(mmproj, "clip."), keys(mmproj, "clip.vision.");
  if (const auto found = mmproj.get_or<std::string_view>("general.architecture", "none"); found != "clip")
    fail<ConfigError>(mmproj.where(), ": general.architecture: expected clip, as an mmproj has it, found ",
                      in_quotes(found));
  if (!clip.has("projector_type") && !keys.has("projector_type")) clip.get<std::string_view>("projector_type");
  clip.expect("projector_type", "internvl");
  keys.expect("projector_type", "internvl");
  if (clip.get_or("use_silu", false)) clip.refuse("use_silu", "false, since the tower has GELU", "true");
  VitConfig& vit = config.vlm.vit;
  vit.layers = keys.size("block_count");
  vit.hidden = keys.size("embedding_length");
  vit.heads = keys.size("attention.head_count");
  vit.mlp_hidden = keys.size("feed_forward_length");
  vit.patch_px = keys.size("patch_size");
  vit.tile_px = keys.size("image_size");
  // No key says which of the two towers it is; the tensors do.
  const auto first_block = [&](const char* name) { return mmproj.find("v.blk.0." + std::string(name)) != nullptr; };
  vit.norm = first_block("ln1.bias") ? NormKind::layer_norm : NormKind::rms_norm;
  vit.qkv_bias = first_block("attn_q.bias") || first_block("attn_qkv.bias");
  vit.qk_norm = first_block("attn_q_norm.weight");
  config.vlm.projector = {.scale = keys.size_or("projector.scale_factor", 2), .order = ShuffleOrder::v2};
  if (const int width = keys.size_or("projection_dim", config.vlm.decoder.hidden); width != config.vlm.decoder.hidden)
    keys.refuse("projection_dim", "the language model's width, " + std::to_string(config.vlm.decoder.hidden),
                std::to_string(width) + ": the mmproj is another model's");
  config.facts.vision_norm_eps = keys.get<float>("attention.layer_norm_epsilon");

  ImageFacts& image = config.facts.image;
  const auto statistics = [&](std::string_view key, std::array<float, 3>& to) {
    if (!keys.has(key)) return;
    const auto values = keys.get<std::vector<float>>(key);
    if (values.size() != 3) keys.refuse(key, "three numbers", std::to_string(values.size()));
    std::ranges::copy(values, to.begin());
  };
  statistics("image_mean", image.mean);
  statistics("image_std", image.deviation);
  image.thumbnail = true;
  if (keys.has("preproc_max_tiles")) {
    image.min_tiles = keys.size_or("preproc_min_tiles", 1);
    image.max_tiles = keys.size("preproc_max_tiles");
  } else {
    config.notes.push_back(
        "the mmproj does not say how many tiles a picture may have: " + std::to_string(image.max_tiles) +
        ", as in the published checkpoints (--max-tiles gives another number)");
  }
}

}  // namespace detail

IVL_INLINE CheckpointConfig read_gguf_config(const GgufFiles& files) {
  CheckpointConfig config;
  config.gguf = files;
  detail::read_gguf_language(Gguf(files.model), config);
  detail::read_gguf_vision(Gguf(files.mmproj), config);
  return config;
}

}  // namespace ivl
