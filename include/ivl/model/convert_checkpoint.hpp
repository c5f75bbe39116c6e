// A checkpoint as a folder in a published layout (checkpoint/convert.hpp), with its tokenizer.
#pragma once
#include <filesystem>
#include <optional>

#include "ivl/checkpoint/load_options.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// Writes the checkpoint `from`, a folder or a GGUF pair, to the new folder `to`, in the format `target` or in its own:
/// see `convert_folder`. The tokenizer of a GGUF pair becomes files too, and its chat template where it is what writes
/// the prompts. Throws FileError and ConfigError, and RequestError for a folder without a tokenizer.
void convert_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to,
                        std::optional<FolderFormat> target, const LoadOptions& options = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/convert_checkpoint.ipp"
#endif
