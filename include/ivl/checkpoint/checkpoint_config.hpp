// What the files of a checkpoint say about it: a `VlmConfig` (structure) and `ModelFacts` (data).
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ivl/checkpoint/gguf_files.hpp"
#include "ivl/config/vlm.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// What a folder or a GGUF pair says about itself.
struct CheckpointConfig {
  VlmConfig vlm;
  ModelFacts facts;
  std::vector<std::string> notes;   ///< what is not obeyed, since no table knows it, or not said: a line for each place
  std::optional<GgufFiles> gguf{};  ///< where the checkpoint is no folder of safetensors

  /// Where the structure was read, of a checkpoint at `path`.
  std::string where(const std::filesystem::path& path) const {
    return gguf ? gguf->model.string() : (path / "config.json").string();
  }
};

}  // namespace ivl
