// The keys of the settings files beside config.json, and what is done with each: docs/folders.md is this table in
// words.
//
// The law: what a file says is obeyed, or refused by its name; what changes neither pixels, prompts nor sampling is
// accepted; of a key that nobody knows there is a note.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"

namespace ivl {

enum class SettingsFile : std::uint8_t {
  image_processor,  ///< preprocessor_config.json, or the object `image_processor` of processor_config.json
  processor,        ///< processor_config.json
  generation,       ///< generation_config.json
  tokenizer,        ///< tokenizer_config.json
};

enum class SettingUse : std::uint8_t {
  obeyed,    ///< read, and followed
  fixed,     ///< one of `values`, which is what is done anyway; anything else is refused
  harmless,  ///< any value: it changes nothing that is computed here
};

struct Setting {
  SettingsFile file;
  std::string_view key;
  SettingUse use;
  std::string_view values = {};  ///< of a fixed one: JSON values, with " | " between them; null always counts as absent
};

/// All known keys, file by file.
std::span<const Setting> known_settings();

/// Looks at every key of a settings object, which is JSON text; `where` names it. Throws ConfigError for a value that
/// is refused, FileError for text that is no object. Returns a note for each key that nobody knows.
std::vector<std::string> check_settings(SettingsFile file, std::string_view object, const std::string& where);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/settings.ipp"
#endif
