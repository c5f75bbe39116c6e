// What a program says about a checkpoint's settings that have no effect.
#pragma once
#include <cstdio>
#include <filesystem>
#include <string>

#include "ivl/checkpoint/read_config.hpp"

/// One line on stderr for each place in the folder with keys that the library does not know.
inline void print_notes(const std::filesystem::path& checkpoint) {
  for (const std::string& note : ivl::read_checkpoint_config(checkpoint).notes)
    std::fprintf(stderr, "note: %s\n", note.c_str());
}
