// A chat template's tokens, with the rules of white space: jinja2's lexer with trim_blocks and lstrip_blocks.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/text/jinja_value.hpp"

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

/// Throws FileError, with the line, for text that cannot be part of a template. The last token is `end`.
std::vector<Token> tokens_of(std::string_view source, const std::string& where);

template <class... Parts>
[[noreturn]] void refuse(const std::string& where, int line, const Parts&... parts) {
  fail<FileError>(where, ": line ", line, ": ", parts...);
}

/// The tokens of a template, one after the other, for those who parse it.
class TokenStream {
 public:
  TokenStream(std::string_view source, const std::string& where) : where_(where), tokens_(tokens_of(source, where)) {}

 protected:
  const Token& now() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? std::move(tokens_[at_++]) : tokens_.back(); }
  bool skip_op(std::string_view op) { return now().is_op(op) && (take(), true); }
  bool skip_name(std::string_view name) { return now().is_name(name) && (take(), true); }

  template <class... Parts>
  [[noreturn]] void refuse(int line, const Parts&... parts) const {
    jinja::refuse(where_, line, parts...);
  }
  /// A name that may become a variable. Finding out which takes as long as there are names.
  std::string variable(int line, std::string name) {
    names_.insert(name);
    if (names_.size() > max_names) refuse(line, "expected at most ", max_names, " names, found more");
    return name;
  }
  static std::string describe(const Token& token);
  void expect_op(std::string_view op) {
    if (!skip_op(op)) refuse(now().line, "expected '", op, "', found ", describe(now()));
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::name) refuse(now().line, "expected a name, found ", describe(now()));
    return take().text;
  }
  void expect_end(Token::Kind kind) {
    if (now().kind != kind) {
      refuse(now().line, "expected '", kind == Token::Kind::block_end ? "%}" : "}}", "', found ", describe(now()));
    }
    take();
  }

  /// Counts nesting, for as long as it lives.
  class Level {
   public:
    explicit Level(TokenStream& parser) : parser_(parser) {
      if (++parser.depth_ > max_syntax_depth) {
        parser.refuse(parser.now().line, "nested deeper than ", max_syntax_depth, " levels");
      }
    }
    ~Level() { --parser_.depth_; }

   private:
    TokenStream& parser_;
  };

 private:
  static constexpr std::size_t max_names = 300;

  const std::string& where_;
  std::vector<Token> tokens_;
  std::set<std::string> names_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_lexer.ipp"
#endif
