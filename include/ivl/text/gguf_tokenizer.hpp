// The tokenizer in the keys of a GGUF file, `tokenizer.ggml.*`, into plain parts.
#pragma once
#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

/// Byte-level BPE ("gpt2") as Qwen2, gpt-oss or SmolLM2 split text, and SentencePiece's BPE ("llama"). Ids, and the
/// text of all tokens, are those of the tokenizer that the file was made from. One thing a file does not keep: of
/// tokens spelt
/// <|...|> that were not special, such as <|fim_prefix|>, converters make special ones. Throws FileError.
TokenizerParts tokenizer_parts(const Gguf& file);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/gguf_tokenizer.ipp"
#endif
