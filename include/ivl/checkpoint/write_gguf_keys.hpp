// What a checkpoint's config says as the keys of a GGUF pair to be, the inverse of read_gguf.hpp.
#pragma once
#include <string_view>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/files/gguf_writer.hpp"

namespace ivl {

/// Keys of the language model's file, without the tokenizer's. Throws ConfigError for a setting that GGUF cannot
/// express.
void add_language_keys(const CheckpointConfig& config, std::string_view name, GgufMetadata& to);

/// Keys of the mmproj. Throws ConfigError for a setting that GGUF cannot express.
void add_vision_keys(const CheckpointConfig& config, std::string_view name, GgufMetadata& to);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/write_gguf_keys.ipp"
#endif
