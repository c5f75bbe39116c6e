// config.json and its neighbours, in both published layouts, as a `VlmConfig` (structure) and `ModelFacts` (data).
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ivl/checkpoint/checkpoint_config.hpp"
#include "ivl/core/compiled.hpp"

namespace ivl {

/// config.json alone. Throws FileError for a malformed document, ConfigError for a value that is not supported, such
/// as weights quantised in a way that is not read.
CheckpointConfig parse_checkpoint_config(const nlohmann::json& document, const std::string& where);

/// config.json, and what generation_config.json, processor_config.json and preprocessor_config.json add to it where
/// they exist. The notes count tokenizer_config.json in. docs/folders.md tells every key. Or what the keys of a GGUF
/// pair say; see find_gguf for `mmproj`. Throws FileError and ConfigError.
CheckpointConfig read_checkpoint_config(const std::filesystem::path& path, const std::filesystem::path& mmproj = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/read_config.ipp"
#endif
