// A chat template's tokens, with the rules of white space: jinja2's lexer with trim_blocks and lstrip_blocks.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

namespace ivl::detail::jinja {

struct Token {
  enum class Kind { data, variable_begin, variable_end, block_begin, block_end, name, string, integer, real, op, end };
  Kind kind = Kind::end;
  int line = 0;
  std::string text;  // of data and strings as they shall be printed, of names and operators as written
  std::int64_t integer = 0;
  double real = 0;

  bool is_name(std::string_view name) const { return kind == Kind::name && text == name; }
  bool is_op(std::string_view op) const { return kind == Kind::op && text == op; }
};

/// Throws FileError for what cannot be part of a template, with the line. The last token is `end`.
std::vector<Token> tokens_of(std::string_view source, const std::string& where);

template <class... Parts>
[[noreturn]] void refuse(const std::string& where, int line, const Parts&... parts) {
  fail<FileError>(where, ": line ", line, ": ", parts...);
}

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_lexer.ipp"
#endif
