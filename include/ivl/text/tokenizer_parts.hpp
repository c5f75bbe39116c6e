// What the files of a tokenizer say, before anything is built from it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ivl {

struct AddedToken {
  int id;
  std::string content;
  bool special;        ///< decoding may skip it
  bool normalized;     ///< looked for after normalisation, not before
  bool piece = false;  ///< of a SentencePiece model, which decodes it among its neighbours
};

/// What the smallest symbols are.
enum class TokenizerKind {
  byte_level,      ///< bytes, of words that a regular expression cuts: Qwen, gpt-oss
  sentence_piece,  ///< characters, and bytes where a character has no piece; no words: InternLM
};

/// How tokens become text again: where U+FFFD stands for bytes that are not UTF-8, and what becomes of a first space.
enum class Decoding {
  byte_level,      ///< all bytes together; a U+FFFD for each maximal invalid subpart
  sentence_piece,  ///< tokenizer.model: a U+FFFD for each byte that is in no character
  byte_fallback,  ///< tokenizer.json of a SentencePiece model: one for each byte of a run of them that is not all UTF-8
};

struct DecodingRules {
  Decoding kind = Decoding::byte_level;
  bool drops_first_space = false;  ///< sentence_piece: of each run between added tokens; byte_fallback: of the text
  bool drops_every_first_space = false;  ///< sentence_piece: of each piece until there is text
};

struct TokenizerParts {
  std::string where;  ///< the files, for errors that show once all is put together
  TokenizerKind kind = TokenizerKind::byte_level;
  /// As in the file: byte_level: one letter a byte; sentence_piece: U+2581 for a space, and <0x00> to <0xFF>.
  std::vector<std::pair<std::string, int>> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  ///< as in the file, by rank
  std::vector<AddedToken> added;
  std::optional<int> bos;  ///< goes before every prompt
  DecodingRules decoding;

  // byte_level
  std::string split_pattern;
  bool nfc = false;
  bool ignore_merges = false;
  bool drops_bytes = false;  ///< a byte without a token is left out of words; otherwise each of the 256 needs one

  // sentence_piece
  std::vector<std::uint32_t> ranks;  ///< of the merges, in tokenizer.model by score; none: their places
  bool prefix_space = false;         ///< a space goes before every piece of text between added tokens
  bool single_spaces = false;        ///< runs of spaces become one, and none is left at the ends
};

}  // namespace ivl
