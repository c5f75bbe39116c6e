// The tokenizer as the keys of a GGUF file to be, the inverse of gguf_tokenizer.hpp.
#pragma once
#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/gguf_writer.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

/// Adds `tokenizer.ggml.*`: as many tokens as the embedding has `rows`, of which those without a token are `[PAD...]`.
/// `end_token` ends an answer. Throws ConfigError for a way to split text that GGUF has no name for, and for ids that
/// are no rows.
void add_tokenizer_keys(const TokenizerParts& parts, int rows, int end_token, GgufMetadata& to);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/gguf_tokenizer_keys.ipp"
#endif
