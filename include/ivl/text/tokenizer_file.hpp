// The files that describe a BPE tokenizer, read into plain parts: tokenizer.json, tokenizer.model, or vocab.json +
// merges.txt; and what stands beside them.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

namespace detail {

/// The bytes of a file, which has at least one. Throws FileError.
std::string read_text(const std::filesystem::path& path);

/// "left right", a line of merges. Throws FileError.
std::pair<std::string, std::string> merge_of(std::string_view line);

}  // namespace detail

/// `where`, mostly the file's path, starts every error. Throws FileError on anything but BPE, byte-level or
/// SentencePiece's, that this library runs exactly as the `tokenizers` library does.
TokenizerParts tokenizer_parts(std::string_view tokenizer_json, const std::string& where = "tokenizer.json");

/// Reads tokenizer.json; where there is none tokenizer.model, or vocab.json + merges.txt, which only Qwen2's tokenizer
/// class publishes.
/// Tokens of added_tokens.json and of tokenizer_config.json's added_tokens_decoder that are missing there are added.
/// Every error starts with a file's path. Throws FileError, also where two files disagree on an id, and ConfigError for
/// a key of tokenizer_config.json that is refused.
TokenizerParts tokenizer_parts(const std::filesystem::path& folder);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/tokenizer_file.ipp"
#endif
