// A checkpoint as a GGUF pair, in one of the mixtures in which such files are published.
#pragma once
#include <filesystem>

#include "ivl/checkpoint/gguf_files.hpp"
#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/checkpoint/load_options.hpp"
#include "ivl/core/compiled.hpp"

namespace ivl {

/// Writes the checkpoint `from`, a folder in either format or a GGUF pair, to new files: the language model with its
/// tokenizer, and the mmproj unless its path is empty. Memory holds the keys and some rows of one tensor. Throws
/// FileError, also if the file exists already, and ConfigError for a setting that GGUF cannot express.
void write_gguf_pair(const std::filesystem::path& from, const GgufFiles& to, GgufMixture mixture,
                     const LoadOptions& options = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/gguf_pair.ipp"
#endif
