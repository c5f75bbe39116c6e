// The bodies of error.hpp.
#pragma once
#include <sstream>
#include <utility>

#include "ivl/core/error.hpp"

namespace ivl::detail {

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

}  // namespace ivl::detail
