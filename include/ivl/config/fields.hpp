// The fields of a structure, listed once: lists of differences, text for a user's own source, and other forms of it
// (JSON: checkpoint/config_json.hpp) are made of this list.
#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include "ivl/config/vlm.hpp"
#include "ivl/core/compiled.hpp"

namespace ivl {

// ---- the words of kinds, in the order of their values ------------------------------------------------------------
template <class Kind>
struct KindWords;
template <>
struct KindWords<NormKind> {
  static constexpr std::string_view type = "NormKind";
  static constexpr std::array<std::string_view, 2> words{"layer_norm", "rms_norm"};
};
template <>
struct KindWords<ShuffleOrder> {
  static constexpr std::string_view type = "ShuffleOrder";
  static constexpr std::array<std::string_view, 2> words{"v1", "v2"};
};
template <>
struct KindWords<WindowLayers> {
  static constexpr std::string_view type = "WindowLayers";
  static constexpr std::array<std::string_view, 3> words{"all", "even", "odd"};
};
template <>
struct KindWords<ExpertActivation> {
  static constexpr std::string_view type = "ExpertActivation";
  static constexpr std::array<std::string_view, 2> words{"swi_glu", "clamped_swi_glu"};
};

// ---- the fields --------------------------------------------------------------------------------------------------
/// `Config` or const `Config`: a list serves readers and writers.
template <class Any, class Config>
concept Either = std::same_as<std::remove_const_t<Any>, Config>;

/// Calls visit(name, field) for every field, in the order of the structure. A field is an int, a bool, a kind, or a
/// structure with a list of its own.
constexpr void each_field(Either<VitConfig> auto& c, const auto& visit) {
  visit("layers", c.layers);
  visit("hidden", c.hidden);
  visit("heads", c.heads);
  visit("mlp_hidden", c.mlp_hidden);
  visit("patch_px", c.patch_px);
  visit("tile_px", c.tile_px);
  visit("norm", c.norm);
  visit("qkv_bias", c.qkv_bias);
  visit("qk_norm", c.qk_norm);
  visit("ranks", c.ranks);
}
constexpr void each_field(Either<ProjectorConfig> auto& c, const auto& visit) {
  visit("scale", c.scale);
  visit("order", c.order);
}
constexpr void each_field(Either<AttentionConfig> auto& c, const auto& visit) {
  visit("heads", c.heads);
  visit("kv_heads", c.kv_heads);
  visit("head_dim", c.head_dim);
  visit("qkv_bias", c.qkv_bias);
  visit("head_norm", c.head_norm);
  visit("out_bias", c.out_bias);
  visit("sinks", c.sinks);
  visit("window", c.window);
  visit("window_layers", c.window_layers);
}
constexpr void each_field(Either<MoeConfig> auto& c, const auto& visit) {
  visit("experts", c.experts);
  visit("active", c.active);
  visit("mlp_hidden", c.mlp_hidden);
  visit("activation", c.activation);
  visit("bias", c.bias);
}
constexpr void each_field(Either<DecoderConfig> auto& c, const auto& visit) {
  visit("layers", c.layers);
  visit("hidden", c.hidden);
  visit("attention", c.attention);
  visit("mlp_hidden", c.mlp_hidden);
  visit("moe", c.moe);
  visit("ranks", c.ranks);
}
constexpr void each_field(Either<VlmConfig> auto& c, const auto& visit) {
  visit("vit", c.vit);
  visit("projector", c.projector);
  visit("decoder", c.decoder);
}

/// A structure, not a single value.
template <class Value>
concept HasFields = requires(Value& value) { each_field(value, [](std::string_view, auto&) {}); };

// ---- what is made of them ----------------------------------------------------------------------------------------
namespace detail {

inline std::string field_text(int value) { return std::to_string(value); }
inline std::string field_text(bool value) { return value ? "true" : "false"; }
template <class Kind>
std::string field_text(Kind kind) {
  return std::string(KindWords<Kind>::words[std::size_t(kind)]);
}

}  // namespace detail

/// Every field in which two structures differ, a line each: `found` is the file's, `expected` the type's.
std::string config_differences(const VlmConfig& found, const VlmConfig& expected);

/// The designated initialiser of a structure: text for a user's own source.
std::string config_text(const VlmConfig& config);

/// The first rule that a structure breaks, as the compiler would say it; empty if it keeps all.
std::string broken_rule(const VlmConfig& config);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/config/fields.ipp"
#endif
