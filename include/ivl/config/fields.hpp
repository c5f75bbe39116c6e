// The fields of a structure, listed once: lists of differences, text for a user's own source, and other forms of it
// (JSON: checkpoint/config_json.hpp) are made of this list.
#pragma once
#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/config/vlm.hpp"

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

/// (name, text) of all single values, such as (decoder.moe.experts, 8).
template <HasFields Config>
void append_fields(const Config& config, const std::string& prefix,
                   std::vector<std::pair<std::string, std::string>>& to) {
  each_field(config, [&](std::string_view name, const auto& field) {
    if constexpr (HasFields<decltype(field)>)
      append_fields(field, prefix + std::string(name) + ".", to);
    else
      to.emplace_back(prefix + std::string(name), field_text(field));
  });
}

/// Room for the brackets and commas behind a value, up to column 120.
inline constexpr std::size_t last_column = 114;

/// {.a = 1, .b = {.c = 2}} without fields at their defaults: on one line where that ends before `last_column`, else
/// with a line for each field. `indent` is that of its line, `column` where it starts.
template <HasFields Config>
std::string initialiser(const Config& config, std::size_t indent, std::size_t column) {
  std::vector<std::pair<std::string, std::string>> defaults;
  append_fields(Config{}, "", defaults);
  const auto joined = [&](const std::string& before_first, const std::string& between, bool one_line) {
    std::string text = "{";
    each_field(config, [&](std::string_view name, const auto& field) {
      using Field = std::remove_cvref_t<decltype(field)>;
      const std::string start = (text == "{" ? before_first : between) + "." + std::string(name) + " = ";
      if constexpr (HasFields<const Field>) {
        text += start + initialiser(field, indent + 4, one_line ? 0 : indent + 8 + name.size());
      } else if (std::ranges::find(defaults, std::pair(std::string(name), field_text(field))) == defaults.end()) {
        text += start;
        if constexpr (std::is_enum_v<Field>) text += "ivl::" + std::string(KindWords<Field>::type) + "::";
        text += field_text(field);
      }
    });
    return text + "}";
  };
  const std::string line = joined("", ", ", true);
  if (column + line.size() <= last_column && line.find('\n') == line.npos) return line;
  const std::string new_line = "\n" + std::string(indent + 4, ' ');
  return joined(new_line, "," + new_line, false);
}

}  // namespace detail

/// Every field in which two structures differ, a line each: `found` is the file's, `expected` the type's.
inline std::string config_differences(const VlmConfig& found, const VlmConfig& expected) {
  std::vector<std::pair<std::string, std::string>> file, type;
  detail::append_fields(found, "", file);
  detail::append_fields(expected, "", type);
  std::string lines;
  for (std::size_t i = 0; i < file.size(); ++i) {
    if (file[i] != type[i])
      lines += "\n  " + file[i].first + ": the file says " + file[i].second + ", the type " + type[i].second;
  }
  return lines;
}

/// The designated initialiser of a structure: text for a user's own source.
inline std::string config_text(const VlmConfig& config) {
  std::string text = "inline constexpr ivl::VlmConfig my_checkpoint{";
  each_field(config, [&](std::string_view name, const auto& field) {
    const std::string start = "    ." + std::string(name) + " = ";
    text += (text.back() == '{' ? "\n" : ",\n") + start + detail::initialiser(field, 4, start.size());
  });
  return text + "};\n";
}

/// The first rule that a structure breaks, as the compiler would say it; empty if it keeps all.
inline std::string broken_rule(const VlmConfig& config) {
  try {
    check_rules(config);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace ivl
