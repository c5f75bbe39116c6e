// The keys of the settings files of a checkpoint's folder, and what is done with each. docs/folders.md is this table in
// words.
//
// The law: what a file says is obeyed, or refused by its name; what changes neither pixels, prompts, logits nor
// sampling is accepted; of a key that nobody knows there is a note.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/setting.hpp"

namespace ivl {

/// All known keys, object by object.
std::span<const Setting> known_settings();

/// Looks at every key of `json`; `where` names it. JSON null always counts as not there. Adds a note on the keys that
/// nobody knows. Throws ConfigError for a value that is refused, FileError if the file is not an object.
void check_settings(SettingsOf object, const Json& json, const std::string& where, std::vector<std::string>& notes);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/settings.ipp"
#endif
