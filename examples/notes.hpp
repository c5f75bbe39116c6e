// What a program says about a checkpoint's settings that have no effect.
#pragma once
#include <cstdio>
#include <filesystem>
#include <string>

#include "ivl/checkpoint/read_config.hpp"

/// One line on stderr for each place with keys that the library does not know, and for what a GGUF file leaves out.
inline void print_notes(const std::filesystem::path& checkpoint, const std::filesystem::path& mmproj = {}) {
  for (const std::string& note : ivl::read_checkpoint_config(checkpoint, mmproj).notes)
    std::fprintf(stderr, "note: %s\n", note.c_str());
}
