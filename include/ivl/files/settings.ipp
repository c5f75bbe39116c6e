// The bodies of settings.hpp.
#pragma once
#include <algorithm>
#include <cmath>

#include "ivl/core/error.hpp"
#include "ivl/files/settings.hpp"
#include "ivl/files/settings_table.hpp"

namespace ivl {

namespace detail {

inline const Setting* find_setting(SettingsOf object, std::string_view key) {
  const auto found = std::ranges::find_if(
      settings::table, [&](const Setting& setting) { return setting.object == object && setting.key == key; });
  if (found != std::end(settings::table)) return found;
  const bool of_model = object < SettingsOf::rope;
  return of_model ? find_setting(SettingsOf::any_model, key) : nullptr;
}

/// Numbers count as equal within rounding: 1 and 1.0, 1/255 in any length.
inline bool is_same_setting(const Json& wanted, const Json& found) {
  if (!wanted.is_number() || !found.is_number()) return wanted == found;
  return std::abs(wanted.get<double>() - found.get<double>()) <= 1e-6 * std::abs(wanted.get<double>());
}

inline void check_setting(const Setting& setting, const Json& value, const std::string& where) {
  const Json passing = Json::parse(setting.values);
  std::string expected;
  for (const Json& one : passing) {
    if (is_same_setting(one, value)) return;
    expected += (expected.empty() ? "" : " or ") + one.dump();
  }
  fail<ConfigError>(where, ": ", setting.key, ": expected ", expected, ", found ", describe(value),
                    setting.advice.empty() ? "" : "; ", setting.advice);
}

}  // namespace detail

IVL_INLINE std::span<const Setting> known_settings() { return detail::settings::table; }

IVL_INLINE void check_settings(SettingsOf object, const Json& json, const std::string& where,
                               std::vector<std::string>& notes) {
  if (!json.is_object()) fail<FileError>(where, ": expected an object, found ", detail::describe(json));
  constexpr int shown = 20;
  std::string unknown;
  int count = 0;
  for (const auto& [key, value] : json.items()) {
    const Setting* setting = detail::find_setting(object, key);
    if (setting) {
      if (!setting->values.empty() && !value.is_null()) detail::check_setting(*setting, value, where);
    } else if (++count <= shown) {
      unknown += (unknown.empty() ? "" : ", ") + in_quotes(key);
    }
  }
  if (count > shown) unknown += " and " + std::to_string(count - shown) + " more";
  if (count > 0)
    notes.push_back(where + (count == 1 ? ": unknown key " : ": unknown keys ") + unknown +
                    (count == 1 ? " is" : " are") + " not obeyed");
}

}  // namespace ivl
