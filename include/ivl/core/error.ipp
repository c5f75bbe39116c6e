// The bodies of error.hpp.
#pragma once
#include <cstddef>
#include <sstream>
#include <string>
#include <utility>

#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

IVL_INLINE std::string error_text(std::initializer_list<ErrorPart> parts) {
  std::ostringstream text;
  for (const ErrorPart& part : parts) {
    switch (part.kind_) {
      case ErrorPart::Kind::text:
        text << part.text_;
        break;
      case ErrorPart::Kind::letter:
        text << part.letter_;
        break;
      case ErrorPart::Kind::integer:
        text << part.integer_;
        break;
      case ErrorPart::Kind::natural:
        text << part.natural_;
        break;
      case ErrorPart::Kind::real:
        text << part.real_;
        break;
    }
  }
  return std::move(text).str();
}

}  // namespace detail

IVL_INLINE std::string first_lines(const std::string& lines) {
  constexpr int most = 10;
  std::size_t end = lines.size();
  int number = 0;
  for (std::size_t at = lines.find("\n  "); at != lines.npos; at = lines.find("\n  ", at + 1)) {
    if (number++ == most) end = at;
  }
  if (number <= most) return lines;
  return lines.substr(0, end) + "\n  and " + std::to_string(number - most) + " more";
}

}  // namespace ivl
