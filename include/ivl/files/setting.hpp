// One key of a settings file: a row of the table that settings.hpp looks into.
#pragma once
#include <cstdint>
#include <string_view>

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

}  // namespace ivl
