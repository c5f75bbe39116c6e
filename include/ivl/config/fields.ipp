// The bodies of fields.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ivl/config/fields.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

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

IVL_INLINE std::string config_differences(const VlmConfig& found, const VlmConfig& expected) {
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

IVL_INLINE std::string config_text(const VlmConfig& config) {
  std::string text = "inline constexpr ivl::VlmConfig my_checkpoint{";
  each_field(config, [&](std::string_view name, const auto& field) {
    const std::string start = "    ." + std::string(name) + " = ";
    text += (text.back() == '{' ? "\n" : ",\n") + start + detail::initialiser(field, 4, start.size());
  });
  return text + "};\n";
}

IVL_INLINE std::string broken_rule(const VlmConfig& config) {
  try {
    check_rules(config);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace ivl
