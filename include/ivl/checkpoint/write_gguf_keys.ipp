// The bodies of write_gguf_keys.hpp.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "ivl/checkpoint/read_gguf.hpp"
#include "ivl/checkpoint/write_gguf_keys.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

/// Adds keys that begin alike.
class GgufKeyAdder {
 public:
  GgufKeyAdder(GgufMetadata& to, std::string prefix) : to_(to), prefix_(std::move(prefix)) {}
  void size(std::string_view key, int value) const { to_.add(prefix_ + std::string(key), std::uint32_t(value)); }
  void number(std::string_view key, double value) const { to_.add(prefix_ + std::string(key), float(value)); }
  void text(std::string_view key, std::string_view value) const { to_.add(prefix_ + std::string(key), value); }

 private:
  GgufMetadata& to_;
  std::string prefix_;
};

inline void add_rope_keys(const ModelFacts& facts, const GgufKeyAdder& keys) {
  const RopeFacts& rope = facts.rope;
  keys.number("rope.freq_base", rope.base);
  const double published = published_ntk_factor(facts.family);
  if (rope.kind == RopeKind::dynamic_ntk && rope.factor != published)
    fail<ConfigError>("rope_scaling: a GGUF file has no word for dynamic NTK, so it always means the factor ",
                      published, ", found ", rope.factor);
  if (rope.kind == RopeKind::plain && published > 1) keys.text("rope.scaling.type", "none");
  if (rope.kind != RopeKind::yarn) return;
  if (rope.truncate != truncates_yarn(facts.family))
    fail<ConfigError>("rope_scaling: truncate: a GGUF file has no word for it, expected ",
                      truncates_yarn(facts.family) ? "true" : "false");
  keys.text("rope.scaling.type", "yarn");
  keys.number("rope.scaling.factor", rope.factor);
  keys.size("rope.scaling.original_context_length", rope.context);
  keys.number("rope.scaling.yarn_beta_fast", rope.beta_fast);
  keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow);
  const double usual = 0.1 * std::log(rope.factor) + 1;
  if (std::abs(rope.attention_factor - usual) > 1e-6)
    keys.number("rope.scaling.yarn_attn_factor", rope.attention_factor / usual);
}

inline void add_general_keys(std::string_view architecture, std::string_view type, std::string_view name,
                             GgufMetadata& to) {
  to.add("general.architecture", architecture);
  to.add("general.type", type);
  to.add("general.name", name);
}

}  // namespace detail

IVL_INLINE void add_language_keys(const CheckpointConfig& config, std::string_view name, GgufMetadata& to) {
  const DecoderConfig& decoder = config.vlm.decoder;
  const AttentionConfig& attention = decoder.attention;
  const ModelFacts& facts = config.facts;
  const std::string architecture(detail::architecture_of(facts.family));
  detail::add_general_keys(architecture, "model", name, to);
  // For this library alone: how prompts are written and pictures opened.
  to.add("ivl.folder_format", facts.format == FolderFormat::hf ? "hf" : "github");
  if (facts.format == FolderFormat::github) to.add("ivl.prompt_template", facts.prompt_template);
  const detail::GgufKeyAdder keys(to, architecture + '.');
  // The stretching of dynamic NTK is not written: readers that know it would take the context for the trained one.
  keys.size("context_length", facts.rope.kind == RopeKind::yarn ? facts.context_length : facts.rope.context);
  keys.size("embedding_length", decoder.hidden);
  keys.size("block_count", decoder.layers);
  // Of Qwen3-MoE it is the width of dense layers, which no such checkpoint has.
  if (facts.family != Family::qwen3_moe)
    keys.size("feed_forward_length", decoder.sparse() ? decoder.moe.mlp_hidden : decoder.mlp_hidden);
  keys.size("attention.head_count", attention.heads);
  keys.size("attention.head_count_kv", attention.kv_heads);
  keys.size("attention.key_length", attention.head_dim);
  keys.size("attention.value_length", attention.head_dim);
  keys.number("attention.layer_norm_rms_epsilon", facts.language_norm_eps);
  keys.size("rope.dimension_count", attention.head_dim);
  detail::add_rope_keys(facts, keys);
  keys.size("vocab_size", facts.vocab_rows);
  if (attention.window > 0) keys.size("attention.sliding_window", attention.window);
  if (!decoder.sparse()) return;
  keys.size("expert_count", decoder.moe.experts);
  keys.size("expert_used_count", decoder.moe.active);
  keys.size("expert_feed_forward_length", decoder.moe.mlp_hidden);
}

IVL_INLINE void add_vision_keys(const CheckpointConfig& config, std::string_view name, GgufMetadata& to) {
  const VitConfig& vit = config.vlm.vit;
  const ImageFacts& image = config.facts.image;
  if (config.vlm.projector.order != ShuffleOrder::v2)
    fail<ConfigError>("ps_version: a GGUF file has no word for it, so it is always v2, found v1");
  if (!image.thumbnail)
    fail<ConfigError>("use_thumbnail: a GGUF file has no word for it, so it is always true, found false");
  detail::add_general_keys("clip", "mmproj", name, to);
  to.add("clip.has_vision_encoder", true);
  to.add("clip.projector_type", "internvl");
  to.add("clip.use_gelu", true);
  const detail::GgufKeyAdder keys(to, "clip.vision.");
  keys.size("image_size", vit.tile_px);
  keys.size("patch_size", vit.patch_px);
  keys.size("embedding_length", vit.hidden);
  keys.size("feed_forward_length", vit.mlp_hidden);
  keys.size("block_count", vit.layers);
  keys.size("attention.head_count", vit.heads);
  keys.size("projection_dim", config.vlm.decoder.hidden);
  keys.size("projector.scale_factor", config.vlm.projector.scale);
  keys.size("preproc_min_tiles", image.min_tiles);
  keys.size("preproc_max_tiles", image.max_tiles);
  keys.number("attention.layer_norm_epsilon", config.facts.vision_norm_eps);
  to.add("clip.vision.image_mean", std::vector<float>(image.mean.begin(), image.mean.end()));
  to.add("clip.vision.image_std", std::vector<float>(image.deviation.begin(), image.deviation.end()));
}

}  // namespace ivl
