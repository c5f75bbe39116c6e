// The one table of tensor names: what each weight of the model is called in files.
#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// `#` stands for the layer's number, `*` for the expert's. A weight that a format stores in pieces lists them in the
/// order in which they are joined: q, k, v, or gate, up. Canonical names end in `.mxfp4` where a weight of that name in
/// `.weight` is stored as blocks and scales.
struct TensorName {
  std::string_view canonical;
  std::array<std::string_view, 3> github;
  std::array<std::string_view, 3> hf;
};

/// HF names as published on disk; `published_name` maps the in-memory spelling of some saves to these. An empty HF
/// entry: the same as in the GitHub format.
// clang-format off
inline constexpr TensorName tensor_names[] = {
    {"vision.patch_embedding.weight", {"vision_model.embeddings.patch_embedding.weight"}, {"vision_tower.embeddings.patch_embeddings.projection.weight"}},
    {"vision.patch_embedding.bias", {"vision_model.embeddings.patch_embedding.bias"}, {"vision_tower.embeddings.patch_embeddings.projection.bias"}},
    {"vision.class_token", {"vision_model.embeddings.class_embedding"}, {"vision_tower.embeddings.cls_token"}},
    {"vision.positions", {"vision_model.embeddings.position_embedding"}, {"vision_tower.embeddings.position_embeddings"}},
    {"vision.blocks.#.norm1.weight", {"vision_model.encoder.layers.#.norm1.weight"}, {"vision_tower.encoder.layer.#.layernorm_before.weight"}},
    {"vision.blocks.#.norm1.bias", {"vision_model.encoder.layers.#.norm1.bias"}, {"vision_tower.encoder.layer.#.layernorm_before.bias"}},
    {"vision.blocks.#.qkv.weight", {"vision_model.encoder.layers.#.attn.qkv.weight"}, {"vision_tower.encoder.layer.#.attention.q_proj.weight", "vision_tower.encoder.layer.#.attention.k_proj.weight", "vision_tower.encoder.layer.#.attention.v_proj.weight"}},
    {"vision.blocks.#.qkv.bias", {"vision_model.encoder.layers.#.attn.qkv.bias"}, {"vision_tower.encoder.layer.#.attention.q_proj.bias", "vision_tower.encoder.layer.#.attention.k_proj.bias", "vision_tower.encoder.layer.#.attention.v_proj.bias"}},
    {"vision.blocks.#.q_norm.weight", {"vision_model.encoder.layers.#.attn.q_norm.weight"}, {"vision_tower.encoder.layer.#.attention.q_norm.weight"}},
    {"vision.blocks.#.k_norm.weight", {"vision_model.encoder.layers.#.attn.k_norm.weight"}, {"vision_tower.encoder.layer.#.attention.k_norm.weight"}},
    {"vision.blocks.#.proj.weight", {"vision_model.encoder.layers.#.attn.proj.weight"}, {"vision_tower.encoder.layer.#.attention.projection_layer.weight"}},
    {"vision.blocks.#.proj.bias", {"vision_model.encoder.layers.#.attn.proj.bias"}, {"vision_tower.encoder.layer.#.attention.projection_layer.bias"}},
    {"vision.blocks.#.layer_scale1", {"vision_model.encoder.layers.#.ls1"}, {"vision_tower.encoder.layer.#.lambda_1"}},
    {"vision.blocks.#.norm2.weight", {"vision_model.encoder.layers.#.norm2.weight"}, {"vision_tower.encoder.layer.#.layernorm_after.weight"}},
    {"vision.blocks.#.norm2.bias", {"vision_model.encoder.layers.#.norm2.bias"}, {"vision_tower.encoder.layer.#.layernorm_after.bias"}},
    {"vision.blocks.#.fc1.weight", {"vision_model.encoder.layers.#.mlp.fc1.weight"}, {"vision_tower.encoder.layer.#.mlp.fc1.weight"}},
    {"vision.blocks.#.fc1.bias", {"vision_model.encoder.layers.#.mlp.fc1.bias"}, {"vision_tower.encoder.layer.#.mlp.fc1.bias"}},
    {"vision.blocks.#.fc2.weight", {"vision_model.encoder.layers.#.mlp.fc2.weight"}, {"vision_tower.encoder.layer.#.mlp.fc2.weight"}},
    {"vision.blocks.#.fc2.bias", {"vision_model.encoder.layers.#.mlp.fc2.bias"}, {"vision_tower.encoder.layer.#.mlp.fc2.bias"}},
    {"vision.blocks.#.layer_scale2", {"vision_model.encoder.layers.#.ls2"}, {"vision_tower.encoder.layer.#.lambda_2"}},
    {"projector.norm.weight", {"mlp1.0.weight"}, {"multi_modal_projector.layer_norm.weight"}},
    {"projector.norm.bias", {"mlp1.0.bias"}, {"multi_modal_projector.layer_norm.bias"}},
    {"projector.fc1.weight", {"mlp1.1.weight"}, {"multi_modal_projector.linear_1.weight"}},
    {"projector.fc1.bias", {"mlp1.1.bias"}, {"multi_modal_projector.linear_1.bias"}},
    {"projector.fc2.weight", {"mlp1.3.weight"}, {"multi_modal_projector.linear_2.weight"}},
    {"projector.fc2.bias", {"mlp1.3.bias"}, {"multi_modal_projector.linear_2.bias"}},
    {"language.embedding.weight", {"language_model.model.embed_tokens.weight"}, {}},
    {"language.blocks.#.norm1.weight", {"language_model.model.layers.#.input_layernorm.weight"}, {}},
    {"language.blocks.#.qkv.weight", {"language_model.model.layers.#.self_attn.q_proj.weight", "language_model.model.layers.#.self_attn.k_proj.weight", "language_model.model.layers.#.self_attn.v_proj.weight"}, {}},
    {"language.blocks.#.qkv.bias", {"language_model.model.layers.#.self_attn.q_proj.bias", "language_model.model.layers.#.self_attn.k_proj.bias", "language_model.model.layers.#.self_attn.v_proj.bias"}, {}},
    {"language.blocks.#.q_norm.weight", {"language_model.model.layers.#.self_attn.q_norm.weight"}, {}},
    {"language.blocks.#.k_norm.weight", {"language_model.model.layers.#.self_attn.k_norm.weight"}, {}},
    {"language.blocks.#.sinks", {"language_model.model.layers.#.self_attn.sinks"}, {}},
    {"language.blocks.#.out.weight", {"language_model.model.layers.#.self_attn.o_proj.weight"}, {}},
    {"language.blocks.#.out.bias", {"language_model.model.layers.#.self_attn.o_proj.bias"}, {}},
    {"language.blocks.#.norm2.weight", {"language_model.model.layers.#.post_attention_layernorm.weight"}, {}},
    {"language.blocks.#.gate_up.weight", {"language_model.model.layers.#.mlp.gate_proj.weight", "language_model.model.layers.#.mlp.up_proj.weight"}, {}},
    {"language.blocks.#.down.weight", {"language_model.model.layers.#.mlp.down_proj.weight"}, {}},
    // Qwen3-MoE: a matrix for each expert.
    {"language.blocks.#.gate.weight", {"language_model.model.layers.#.mlp.gate.weight"}, {}},
    {"language.blocks.#.experts.*.gate_up.weight", {"language_model.model.layers.#.mlp.experts.*.gate_proj.weight", "language_model.model.layers.#.mlp.experts.*.up_proj.weight"}, {}},
    {"language.blocks.#.experts.*.down.weight", {"language_model.model.layers.#.mlp.experts.*.down_proj.weight"}, {}},
    // GPT-OSS: all experts as one tensor, or as MXFP4 blocks and scales.
    {"language.blocks.#.router.weight", {"language_model.model.layers.#.mlp.router.weight"}, {}},
    {"language.blocks.#.router.bias", {"language_model.model.layers.#.mlp.router.bias"}, {}},
    {"language.blocks.#.experts.gate_up.weight", {"language_model.model.layers.#.mlp.experts.gate_up_proj"}, {}},
    {"language.blocks.#.experts.gate_up.mxfp4", {"language_model.model.layers.#.mlp.experts.gate_up_proj_blocks", "language_model.model.layers.#.mlp.experts.gate_up_proj_scales"}, {}},
    {"language.blocks.#.experts.gate_up.bias", {"language_model.model.layers.#.mlp.experts.gate_up_proj_bias"}, {}},
    {"language.blocks.#.experts.down.weight", {"language_model.model.layers.#.mlp.experts.down_proj"}, {}},
    {"language.blocks.#.experts.down.mxfp4", {"language_model.model.layers.#.mlp.experts.down_proj_blocks", "language_model.model.layers.#.mlp.experts.down_proj_scales"}, {}},
    {"language.blocks.#.experts.down.bias", {"language_model.model.layers.#.mlp.experts.down_proj_bias"}, {}},
    {"language.norm.weight", {"language_model.model.norm.weight"}, {}},
    {"language.head.weight", {"language_model.lm_head.weight"}, {}},
};
// clang-format on

/// The row of a canonical name; null if there is none.
constexpr const TensorName* find_tensor_name(std::string_view canonical) {
  for (const TensorName& row : tensor_names) {
    if (row.canonical == canonical) return &row;
  }
  return nullptr;
}

/// The pieces of a weight in files of one format; empty names at the end.
constexpr const std::array<std::string_view, 3>& file_names(const TensorName& row, FolderFormat format) {
  return format == FolderFormat::github || row.hf[0].empty() ? row.github : row.hf;
}

/// `pattern` with `number` in place of `mark`.
inline std::string with_number(std::string_view pattern, char mark, int number) {
  const std::size_t at = pattern.find(mark);
  if (at == pattern.npos) return std::string(pattern);
  return std::string(pattern.substr(0, at)) + std::to_string(number) + std::string(pattern.substr(at + 1));
}

/// `pattern` with the layer's number in place of `#`.
inline std::string with_layer(std::string_view pattern, int layer) { return with_number(pattern, '#', layer); }
/// `pattern` with the expert's number in place of `*`.
inline std::string with_expert(std::string_view pattern, int expert) { return with_number(pattern, '*', expert); }

/// The on-disk spelling of a tensor's name. Some transformers versions save the in-memory one: `model.` in front.
inline std::string published_name(std::string_view name) {
  constexpr std::string_view language = "model.language_model.";
  if (name.starts_with(language)) return "language_model.model." + std::string(name.substr(language.size()));
  if (name.starts_with("model.vision_tower.") || name.starts_with("model.multi_modal_projector."))
    return std::string(name.substr(std::string_view("model.").size()));
  if (name == "lm_head.weight") return "language_model.lm_head.weight";
  return std::string(name);
}

}  // namespace ivl
