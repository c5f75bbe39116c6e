// Whether a path is the folder of a checkpoint, and what to do about it if not.
#pragma once
#include <filesystem>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Looks only at names and at the first bytes of small files. Throws FileError if it is not a folder of a checkpoint,
/// with the reason and the way out: nothing there, the name of a hub repository, a folder of the hub's cache (and which
/// folder inside to use), a single file, a folder with GGUF files or an adapter alone, and git-lfs pointers in place of
/// files.
void check_folder(const std::filesystem::path& folder);

/// The same about its weights: throws FileError where a folder has other files of weights than safetensors, or none.
void check_weight_files(const std::filesystem::path& folder);

/// Throws FileError where a folder is no LoRA adapter of PEFT with its tensors as safetensors.
void check_adapter_folder(const std::filesystem::path& folder);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/folder.ipp"
#endif
