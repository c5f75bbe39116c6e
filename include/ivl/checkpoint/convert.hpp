// A checkpoint folder in the other published layout: the same weights, bit for bit, under the other names. Or with an
// adapter merged into them, in either.
#pragma once
#include <filesystem>

#include "ivl/checkpoint/load_options.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// What the tokenizer of a folder says, which configs of the HF format repeat.
struct ConvertedTokens {
  int image = 0;  ///< id of <IMG_CONTEXT>
  int end = 0;    ///< id of the token that ends an answer
};

/// Writes the checkpoint of folder `from` to the new folder `to` in the format `target`, in files of at most 5 GB.
/// Weights keep their bits, but for those that `options.lora` is merged into; with it the format may be the one that
/// `from` has. Harmless extra tensors are left out. What the target's config files have no place for is kept in them
/// under one key, so that converting back gives the same weights and the same configs. Files that both formats share
/// are copied. Throws FileError and ConfigError; config.json is written last.
void convert_folder(const std::filesystem::path& from, const std::filesystem::path& to, FolderFormat target,
                    const ConvertedTokens& tokens, const LoadOptions& options = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/convert.ipp"
#endif
