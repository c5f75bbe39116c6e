// The text of tokens that come one by one, by each kind of tokenizer's own rules.
#pragma once
#include <string>
#include <string_view>

#include "ivl/text/tokenizer_parts.hpp"
#include "ivl/text/utf8.hpp"

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
  void push(std::string& text, TokenRole role, std::string_view bytes) {
    if (bytes.empty()) return;
    switch (rules_.kind) {
      case Decoding::byte_level:
        held_ += bytes;
        held_.erase(0, held_.size() - append_utf8(text, held_));
        break;
      case Decoding::sentence_piece:
        push_piece(text, role, bytes);
        break;
      case Decoding::byte_fallback:
        push_fallback(text, role, bytes);
        break;
    }
  }

  /// The end of all tokens.
  void finish(std::string& text) {
    if (rules_.kind == Decoding::byte_level) {
      if (!held_.empty()) text += replacement;
      held_.clear();
    } else {
      end_bytes(text);
    }
  }

  /// Back to the start, for another text.
  void reset() {
    held_.clear();
    at_start_ = true;
  }

 private:
  static constexpr std::string_view replacement = "\uFFFD";

  static void replace(std::string& text, std::size_t bytes) {
    while (bytes-- > 0) text += replacement;
  }

  /// Characters as they come; a byte in none of them is a U+FFFD of its own. Each run of pieces between added tokens
  /// decodes on its own, and so loses the space that encoding put before it.
  void push_piece(std::string& text, TokenRole role, std::string_view bytes) {
    if (role == TokenRole::byte) {
      at_start_ = false;
      held_ += bytes;
      while (!held_.empty()) {
        const Utf8Step step = utf8_step(held_);
        if (step.kind == Utf8Step::Kind::truncated) break;
        if (step.kind == Utf8Step::Kind::whole)
          text.append(held_, 0, std::size_t(step.bytes));
        else
          replace(text, std::size_t(step.bytes));
        held_.erase(0, std::size_t(step.bytes));
      }
      return;
    }
    replace(text, held_.size());  // the start of a character, which no piece goes on with
    held_.clear();
    if (role == TokenRole::text && at_start_) {
      const bool space = rules_.drops_first_space && bytes.starts_with(' ');
      if (space) bytes.remove_prefix(1);
      at_start_ = space && bytes.empty() && rules_.drops_every_first_space;
    }
    if (role == TokenRole::added) at_start_ = true;
    text += bytes;
  }

  /// Byte tokens wait until their run has ended: one bad byte spoils it all. The first space of the whole text goes,
  /// whatever it comes from.
  void push_fallback(std::string& text, TokenRole role, std::string_view bytes) {
    if (role == TokenRole::byte) {
      held_ += bytes;
      return;
    }
    end_bytes(text);
    append_text(text, bytes);
  }

  void end_bytes(std::string& text) {
    if (held_.empty()) return;
    if (rules_.kind == Decoding::byte_fallback && is_utf8(held_)) {
      append_text(text, held_);
    } else {
      replace(text, held_.size());
      at_start_ = false;
    }
    held_.clear();
  }

  void append_text(std::string& text, std::string_view bytes) {
    if (at_start_ && rules_.drops_first_space && bytes.starts_with(' ')) bytes.remove_prefix(1);
    at_start_ = false;
    text += bytes;
  }

  DecodingRules rules_;
  std::string held_;  // bytes of which more depends on the next token
  bool at_start_ = true;
};

}  // namespace ivl
