// The keys of the settings files of a checkpoint's folder, and what is done with each. docs/folders.md is this table in
// words.
//
// The law: what a file says is obeyed, or refused by its name; what changes neither pixels, prompts, logits nor
// sampling is accepted; of a key that nobody knows there is a note.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/files/json.hpp"

namespace ivl {

/// The objects that hold settings.
enum class SettingsOf : std::uint8_t {
  model_hf,         ///< config.json
  model_github,     ///< config.json
  vision,           ///< its vision_config
  language,         ///< its text_config or llm_config
  rope,             ///< rope_scaling or rope_parameters there
  any_model,        ///< keys that transformers puts into each of these but the last
  image_processor,  ///< preprocessor_config.json, or the object of processor_config.json
  processor,        ///< processor_config.json
  generation,       ///< generation_config.json
  tokenizer,        ///< tokenizer_config.json
};

enum class SettingUse : std::uint8_t {
  obeyed,    ///< read, and followed
  checked,   ///< what is done anyway; anything else is refused
  harmless,  ///< any value: it changes nothing that is computed here
};

struct Setting {
  SettingsOf object;
  std::string_view key;
  SettingUse use;
  /// Of a checked one: the JSON array of the values that pass. Empty where those depend on the rest of the folder, and
  /// the reader of the file checks.
  std::string_view values = {};
  std::string_view advice = {};  ///< what to do about another value
};

/// All known keys, object by object.
std::span<const Setting> known_settings();

/// Looks at every key of `json`; `where` names it. JSON null always counts as not there. Adds a note on the keys that
/// nobody knows. Throws ConfigError for a value that is refused, FileError for what is no object.
void check_settings(SettingsOf object, const Json& json, const std::string& where, std::vector<std::string>& notes);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/settings.ipp"
#endif
