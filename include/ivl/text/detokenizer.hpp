// The text of tokens that come one by one, by each kind of tokenizer's own rules.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/tokenizer_parts.hpp"

namespace ivl {

/// What a token is to decoding.
enum class TokenRole {
  text,   ///< characters; of a byte-level tokenizer any bytes
  byte,   ///< one byte of a SentencePiece model: "<0x0A>"
  added,  ///< an added token, which is in no SentencePiece model
};

/// Appends to a text what is certain by now. What it holds back meanwhile is decided by `finish` at the latest.
class Detokenizer {
 public:
  explicit Detokenizer(const DecodingRules& rules) : rules_(rules) {}

  /// So many bytes can be held back without allocating.
  void reserve(std::size_t bytes) { held_.reserve(bytes); }

  /// Appends at most three bytes for each byte of `bytes` and each that was held back. No `bytes`: no token.
  void push(std::string& text, TokenRole role, std::string_view bytes);

  /// The end of all tokens.
  void finish(std::string& text);

  /// Back to the start, for another text.
  void reset() {
    held_.clear();
    at_start_ = true;
  }

 private:
  /// Characters as they come; a byte in none of them is a U+FFFD of its own. Each run of pieces between added tokens
  /// decodes on its own, and so loses the space that encoding put before it.
  void push_piece(std::string& text, TokenRole role, std::string_view bytes);

  /// Byte tokens wait until their run has ended: one bad byte spoils it all. The first space of the whole text goes,
  /// whatever it comes from.
  void push_fallback(std::string& text, TokenRole role, std::string_view bytes);

  void end_bytes(std::string& text);

  void append_text(std::string& text, std::string_view bytes);

  DecodingRules rules_;
  std::string held_;  // bytes whose text depends on the next token
  bool at_start_ = true;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/detokenizer.ipp"
#endif
