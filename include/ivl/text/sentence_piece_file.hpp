// tokenizer.model: a SentencePiece model, which is a protocol buffer (sentencepiece_model.proto), into plain parts.
#pragma once
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

/// `where`, mostly the file's path, starts every error. Throws FileError on anything but a BPE model whose characters
/// without a piece become bytes, and whose text is not normalised but for its spaces.
TokenizerParts sentence_piece_parts(std::string_view model, const std::string& where = "tokenizer.model");

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/sentence_piece_file.ipp"
#endif
