// What the keys of a GGUF pair say about the checkpoint.
#pragma once
#include "ivl/checkpoint/checkpoint_config.hpp"
#include "ivl/core/compiled.hpp"

namespace ivl {

/// What files of this kind leave out gets the value of the published checkpoints of their family, and a note says so:
/// dynamic NTK, and how many tiles a picture may have. Prompts are those of the GitHub format, whose code llama.cpp's
/// converter reads too, unless the file was written by this library and says otherwise (`ivl.*`). Throws FileError and
/// ConfigError.
CheckpointConfig read_gguf_config(const GgufFiles& files);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/read_gguf.ipp"
#endif
