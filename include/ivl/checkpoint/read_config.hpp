// config.json and its neighbours, in both published layouts, as a `VlmConfig` (structure) and `ModelFacts` (data).
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "ivl/config/vlm.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// What a checkpoint folder says about itself.
struct CheckpointConfig {
  VlmConfig vlm;
  ModelFacts facts;
  std::vector<std::string> notes;  ///< what is not obeyed, since no table knows it: a line for each place
};

/// config.json alone. Throws FileError for a malformed document, ConfigError for a value that is not supported, such
/// as weights quantised in a way that is not read.
CheckpointConfig parse_checkpoint_config(const nlohmann::json& document, const std::string& where);

/// config.json, and what generation_config.json, processor_config.json and preprocessor_config.json add to it where
/// they exist. The notes count tokenizer_config.json in. docs/folders.md tells every key. Throws FileError and
/// ConfigError.
CheckpointConfig read_checkpoint_config(const std::filesystem::path& folder);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/read_config.ipp"
#endif
