// Values of the JSON files of a tokenizer. Bodies alone include this (tokenizer_file.ipp, tokenizer_config.hpp), so its
// own stay here.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "ivl/text/tokenizer_parts.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::detail {

/// A value in a message: short, whatever it is.
inline std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 200 ? text : to_utf8(text.substr(0, 200)) + "...";
}

inline const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

inline std::string_view string_or(const Json& object, const char* key, std::string_view otherwise) {
  const Json& value = member(object, key);
  return value.is_string() ? std::string_view(value.get_ref<const std::string&>()) : otherwise;
}

inline bool flag_or(const Json& object, const char* key, bool otherwise) {
  const Json& value = member(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) fail<FileError>(key, ": expected true or false, found ", shown(value));
  return value.get<bool>();
}

inline int id_in(const Json& value, std::string_view token) {
  if (!value.is_number_integer() || value < 0 || value > INT32_MAX)
    fail<FileError>("token \"", token, "\": expected an id from 0 to ", INT32_MAX, ", found ", shown(value));
  return value.get<int>();
}

[[noreturn]] inline void not_implemented(const char* key, const Json& value, const char* expected) {
  fail<FileError>("tokenizer ", key, ": ", shown(value), " is not implemented; expected ", expected);
}

/// One of tokenizer.json's added_tokens, or of tokenizer_config.json's added_tokens_decoder.
inline AddedToken added_token(const Json& entry, int id) {
  const std::string_view content = string_or(entry, "content", "");
  if (content.empty()) fail<FileError>("added token ", id, ": expected content, found ", shown(entry));
  for (const char* key : {"single_word", "lstrip", "rstrip"})
    if (flag_or(entry, key, false)) fail<FileError>("added token \"", content, "\": ", key, " is not implemented");
  const bool special = flag_or(entry, "special", false);
  return {id, std::string(content), special, flag_or(entry, "normalized", !special)};
}

/// The object in `path`; an empty one where there is no such file.
inline Json read_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::object();
  Json json = read_json(path);
  if (!json.is_object()) fail<FileError>(path.string(), ": expected an object, found ", shown(json));
  return json;
}

}  // namespace ivl::detail
