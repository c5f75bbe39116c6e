// The bodies of detokenizer.hpp.
#pragma once
#include "ivl/text/detokenizer.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

inline constexpr std::string_view replacement = "\uFFFD";

inline void append_replacements(std::string& text, std::size_t number) {
  while (number-- > 0) text += replacement;
}

}  // namespace detail

IVL_INLINE void Detokenizer::push(std::string& text, TokenRole role, std::string_view bytes) {
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

IVL_INLINE void Detokenizer::finish(std::string& text) {
  if (rules_.kind == Decoding::byte_level) {
    if (!held_.empty()) text += detail::replacement;
    held_.clear();
  } else {
    end_bytes(text);
  }
}

IVL_INLINE void Detokenizer::push_piece(std::string& text, TokenRole role, std::string_view bytes) {
  if (role == TokenRole::byte) {
    at_start_ = false;
    held_ += bytes;
    while (!held_.empty()) {
      const Utf8Step step = utf8_step(held_);
      if (step.kind == Utf8Step::Kind::truncated) break;
      if (step.kind == Utf8Step::Kind::whole)
        text.append(held_, 0, std::size_t(step.bytes));
      else
        detail::append_replacements(text, std::size_t(step.bytes));
      held_.erase(0, std::size_t(step.bytes));
    }
    return;
  }
  detail::append_replacements(text, held_.size());  // the start of a character, which no piece goes on with
  held_.clear();
  if (role == TokenRole::text && at_start_) {
    const bool space = rules_.drops_first_space && bytes.starts_with(' ');
    if (space) bytes.remove_prefix(1);
    at_start_ = space && bytes.empty() && rules_.drops_every_first_space;
  }
  if (role == TokenRole::added) at_start_ = true;
  text += bytes;
}

IVL_INLINE void Detokenizer::push_fallback(std::string& text, TokenRole role, std::string_view bytes) {
  if (role == TokenRole::byte) {
    held_ += bytes;
    return;
  }
  end_bytes(text);
  append_text(text, bytes);
}

IVL_INLINE void Detokenizer::end_bytes(std::string& text) {
  if (held_.empty()) return;
  if (rules_.kind == Decoding::byte_fallback && is_utf8(held_)) {
    append_text(text, held_);
  } else {
    detail::append_replacements(text, held_.size());
    at_start_ = false;
  }
  held_.clear();
}

IVL_INLINE void Detokenizer::append_text(std::string& text, std::string_view bytes) {
  if (at_start_ && rules_.drops_first_space && bytes.starts_with(' ')) bytes.remove_prefix(1);
  at_start_ = false;
  text += bytes;
}

}  // namespace ivl
