// The fields of a structure: lists of differences, and text for a user's own source.
#pragma once
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/config/vlm.hpp"

namespace ivl {

namespace detail {

constexpr std::string_view text_of(ExpertActivation activation) {
  return activation == ExpertActivation::clamped_swi_glu ? "clamped_swi_glu" : "swi_glu";
}

/// Fields of a config, for the list of differences and for text to paste.
template <class Visit>
void each_field(const VlmConfig& c, const Visit& visit) {
  visit("vit.layers", c.vit.layers);
  visit("vit.hidden", c.vit.hidden);
  visit("vit.heads", c.vit.heads);
  visit("vit.mlp_hidden", c.vit.mlp_hidden);
  visit("vit.patch_px", c.vit.patch_px);
  visit("vit.tile_px", c.vit.tile_px);
  visit("vit.norm", std::string(c.vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm"));
  visit("vit.qkv_bias", c.vit.qkv_bias);
  visit("vit.qk_norm", c.vit.qk_norm);
  visit("projector.scale", c.projector.scale);
  visit("projector.order", std::string(c.projector.order == ShuffleOrder::v1 ? "v1" : "v2"));
  visit("decoder.layers", c.decoder.layers);
  visit("decoder.hidden", c.decoder.hidden);
  visit("decoder.attention.heads", c.decoder.attention.heads);
  visit("decoder.attention.kv_heads", c.decoder.attention.kv_heads);
  visit("decoder.attention.head_dim", c.decoder.attention.head_dim);
  visit("decoder.attention.qkv_bias", c.decoder.attention.qkv_bias);
  visit("decoder.attention.head_norm", c.decoder.attention.head_norm);
  visit("decoder.attention.out_bias", c.decoder.attention.out_bias);
  visit("decoder.attention.sinks", c.decoder.attention.sinks);
  visit("decoder.attention.window", c.decoder.attention.window);
  visit("decoder.mlp_hidden", c.decoder.mlp_hidden);
  visit("decoder.moe.experts", c.decoder.moe.experts);
  visit("decoder.moe.active", c.decoder.moe.active);
  visit("decoder.moe.mlp_hidden", c.decoder.moe.mlp_hidden);
  visit("decoder.moe.activation", std::string(text_of(c.decoder.moe.activation)));
  visit("decoder.moe.bias", c.decoder.moe.bias);
}

inline std::string field_text(int value) { return std::to_string(value); }
inline std::string field_text(bool value) { return value ? "true" : "false"; }
inline std::string field_text(const std::string& value) { return value; }

inline std::vector<std::pair<std::string, std::string>> field_texts(const VlmConfig& config) {
  std::vector<std::pair<std::string, std::string>> fields;
  each_field(config, [&](const char* name, const auto& value) { fields.emplace_back(name, field_text(value)); });
  return fields;
}

}  // namespace detail

/// Every field in which two structures differ, a line each: `found` is the file's, `expected` the type's.
inline std::string config_differences(const VlmConfig& found, const VlmConfig& expected) {
  const auto file = detail::field_texts(found), type = detail::field_texts(expected);
  std::string lines;
  for (std::size_t i = 0; i < file.size(); ++i) {
    if (file[i] != type[i])
      lines += "\n  " + file[i].first + ": the file says " + file[i].second + ", the type " + type[i].second;
  }
  return lines;
}

/// The designated initialiser of a structure: text for a user's own source.
inline std::string config_text(const VlmConfig& c) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  std::ostringstream text;
  text << "inline constexpr ivl::VlmConfig my_checkpoint{\n"
       << "    .vit = {.layers = " << c.vit.layers << ", .hidden = " << c.vit.hidden << ", .heads = " << c.vit.heads
       << ", .mlp_hidden = " << c.vit.mlp_hidden << ",\n            .patch_px = " << c.vit.patch_px
       << ", .tile_px = " << c.vit.tile_px
       << ", .norm = ivl::NormKind::" << (c.vit.norm == NormKind::rms_norm ? "rms_norm" : "layer_norm")
       << ", .qkv_bias = " << flag(c.vit.qkv_bias) << ", .qk_norm = " << flag(c.vit.qk_norm) << "},\n"
       << "    .projector = {.scale = " << c.projector.scale
       << ", .order = ivl::ShuffleOrder::" << (c.projector.order == ShuffleOrder::v1 ? "v1" : "v2") << "},\n"
       << "    .decoder = {.layers = " << c.decoder.layers << ", .hidden = " << c.decoder.hidden
       << ",\n                .attention = {.heads = " << c.decoder.attention.heads
       << ", .kv_heads = " << c.decoder.attention.kv_heads << ", .head_dim = " << c.decoder.attention.head_dim
       << ", .qkv_bias = " << flag(c.decoder.attention.qkv_bias)
       << ", .head_norm = " << flag(c.decoder.attention.head_norm)
       << ",\n                              .out_bias = " << flag(c.decoder.attention.out_bias)
       << ", .sinks = " << flag(c.decoder.attention.sinks) << ", .window = " << c.decoder.attention.window
       << "},\n                ";
  if (c.decoder.sparse()) {
    const MoeConfig& moe = c.decoder.moe;
    text << ".moe = {.experts = " << moe.experts << ", .active = " << moe.active << ", .mlp_hidden = " << moe.mlp_hidden
         << ",\n                        .activation = ivl::ExpertActivation::" << detail::text_of(moe.activation)
         << ", .bias = " << flag(moe.bias) << "}}};\n";
  } else {
    text << ".mlp_hidden = " << c.decoder.mlp_hidden << "}};\n";
  }
  return text.str();
}

}  // namespace ivl
