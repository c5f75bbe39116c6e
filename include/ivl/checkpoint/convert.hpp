// A checkpoint as a folder in a published layout: a folder in the other layout, with the same weights, bit for bit,
// under the other names; one with an adapter merged into it; or a GGUF pair or a quantised folder in bf16.
#pragma once
#include <filesystem>

#include "ivl/checkpoint/converted_tokens.hpp"
#include "ivl/checkpoint/load_options.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

/// Writes the checkpoint `from`, a folder or a GGUF pair, to the new folder `to` in the format `target`, in files of at
/// most 5 GB.
///
/// Scalars of a folder keep their bits, but for those that `options.lora` is merged into, and so does GPT-OSS's MXFP4;
/// what is quantised in another way becomes bf16, and so does all of a GGUF pair. The format may be the one that `from`
/// has where anything changes. Harmless extra tensors are left out. What the target's config files have no place for is
/// kept in them under one key, so that converting back gives the same weights and the same configs. Files that both
/// formats share are copied. Throws FileError and ConfigError; config.json is written last.
void convert_folder(const std::filesystem::path& from, const std::filesystem::path& to, FolderFormat target,
                    const ConvertedTokens& tokens, const LoadOptions& options = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/convert.ipp"
#endif
