// tokenizer.model: a SentencePiece model, which is a protocol buffer (sentencepiece_model.proto), into plain parts. Its
// pieces may come from elsewhere too.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

namespace detail {

struct SentencePiece {
  enum class Type : std::uint64_t { normal = 1, unknown, control, user_defined, unused, byte };
  int id = 0;
  std::string_view text;
  float score = 0;
  Type type = Type::normal;
};

/// Puts the pieces of a BPE model into the vocabulary, the added tokens and the merges. Only their scores say what
/// merges.
void add_pieces(std::span<const SentencePiece> pieces, TokenizerParts& parts);

/// What the normaliser of a model does to spaces, and what decoding undoes.
void set_spaces(bool prefix_space, bool single_spaces, TokenizerParts& parts);

}  // namespace detail

/// `where`, mostly the file's path, starts every error. Throws FileError on anything but a BPE model whose characters
/// without a piece become bytes, and whose text is not normalised but for its spaces.
TokenizerParts sentence_piece_parts(std::string_view model, const std::string& where = "tokenizer.model");

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/sentence_piece_file.ipp"
#endif
