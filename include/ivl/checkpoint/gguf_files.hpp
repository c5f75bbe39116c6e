// A checkpoint as llama.cpp's users hold it: a GGUF file of the language model, and one of the tower and the projector
// (its "mmproj").
#pragma once
#include <filesystem>
#include <optional>

#include "ivl/core/compiled.hpp"

namespace ivl {

struct GgufFiles {
  std::filesystem::path model;   ///< of several parts the first
  std::filesystem::path mmproj;  ///< of the tower and the projector
};

/// The files that `path` names: a .gguf file, or a folder of them without config.json. The mmproj is `mmproj`, or the
/// one that lies in the same folder, whatever it is called. Nothing where `path` is no such thing and `mmproj` is
/// empty. Throws FileError where a file is missing, or where there are several to choose from.
std::optional<GgufFiles> find_gguf(const std::filesystem::path& path, const std::filesystem::path& mmproj = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/gguf_files.ipp"
#endif
