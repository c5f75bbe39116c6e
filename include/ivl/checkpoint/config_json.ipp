// The bodies of config_json.hpp.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>

#include "ivl/checkpoint/config_json.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"

namespace ivl {

template <HasFields Config>
Json config_json(const Config& config) {
  Json object = Json::object();
  each_field(config, [&](std::string_view name, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (HasFields<const Field>)
      object[std::string(name)] = config_json(field);
    else if constexpr (std::is_enum_v<Field>)
      object[std::string(name)] = detail::field_text(field);
    else
      object[std::string(name)] = field;
  });
  return object;
}

template <HasFields Config>
Config config_from_json(const Json& object, const std::string& where) {
  Config config{};
  Json unknown = object;
  each_field(config, [&](std::string_view name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const Json* member = find_field(object, name, where);
    if (member == nullptr) return;
    unknown.erase(std::string(name));
    const std::string place = detail::member_place(where, name);
    if constexpr (HasFields<Field>) {
      field = config_from_json<Field>(*member, place);
    } else if constexpr (std::is_enum_v<Field>) {
      const auto& words = KindWords<Field>::words;
      const auto word = json_as<std::string>(*member, place);
      const auto at = std::ranges::find(words, word);
      if (at == words.end()) {
        std::string all;
        for (const std::string_view one : words) all += (all.empty() ? "" : " or ") + std::string(one);
        fail<FileError>(place, ": expected ", all, ", found ", in_quotes(word));
      }
      field = Field(at - words.begin());
    } else {
      field = json_as<Field>(*member, place);
    }
  });
  for (const auto& [key, value] : unknown.items())
    if (!value.is_null()) fail<FileError>(where, ": ", in_quotes(key), " is no field of this structure");
  return config;
}

#ifdef IVL_COMPILED
template Json config_json(const VitConfig&);
template Json config_json(const ProjectorConfig&);
template Json config_json(const AttentionConfig&);
template Json config_json(const MoeConfig&);
template Json config_json(const DecoderConfig&);
template Json config_json(const VlmConfig&);
template VitConfig config_from_json(const Json&, const std::string&);
template ProjectorConfig config_from_json(const Json&, const std::string&);
template AttentionConfig config_from_json(const Json&, const std::string&);
template MoeConfig config_from_json(const Json&, const std::string&);
template DecoderConfig config_from_json(const Json&, const std::string&);
template VlmConfig config_from_json(const Json&, const std::string&);
#endif

}  // namespace ivl
