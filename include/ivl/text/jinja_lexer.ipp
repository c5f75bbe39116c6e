#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <system_error>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_lexer.hpp"
#include "ivl/text/jinja_text.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::detail::jinja {

/// With "\n" alone at the ends of lines.
inline std::string with_plain_newlines(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    result += text[i] == '\r' ? '\n' : text[i];
  }
  return result;
}

inline bool is_digit(char c, int base = 10) {
  if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return true;
  return c >= '0' && c < '0' + std::min(base, 10);
}
inline bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& where) : where_(where), source_(with_plain_newlines(source)) {
    if (!is_utf8(source)) refuse(where, 1, "expected UTF-8");
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) data();
    add(Token::Kind::end);
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool sees(std::string_view text) const { return rest().starts_with(text); }

  void take(std::size_t bytes) {
    if (bytes == 0) return;
    line_ += int(std::ranges::count(rest().substr(0, bytes), '\n'));
    at_ += bytes;
    line_starts_ = source_[at_ - 1] == '\n';
  }
  void take_space() {
    while (const std::size_t bytes = space_at(rest())) take(bytes);
  }
  Token& add(Token::Kind kind, std::string text = "") { return tokens_.emplace_back(Token{kind, line_, text}); }

  /// Text up to the next tag, and that tag.
  void data() {
    std::size_t open = 0;
    do {
      open = source_.find('{', open == 0 ? at_ : open);
      if (open == source_.npos) {
        add(Token::Kind::data, std::string(rest()));
        return take(rest().size());
      }
      ++open;
    } while (open == source_.size() || (source_[open] != '{' && source_[open] != '%' && source_[open] != '#'));
    --open;
    const std::string_view text = rest().substr(0, open - at_);
    const char kind = source_[open + 1];
    add_data(text, open + 2 < source_.size() ? source_[open + 2] : '\0', kind != '{');
    take(text.size() + 2);
    if (sees("-") || sees("+")) take(1);
    if (kind == '#') return comment();
    if (kind == '%' && raw()) return;
    add(kind == '{' ? Token::Kind::variable_begin : Token::Kind::block_begin);
    inside(kind == '%');
  }

  /// The text before a tag with this sign.
  void add_data(std::string_view text, char sign, bool may_strip_line) {
    if (sign == '-') {
      text = strip_right(text);
    } else if (sign != '+' && may_strip_line) {
      const std::size_t line = text.rfind('\n') + 1;  // 0 in the first line
      if ((line > 0 || line_starts_) && strip_left(text.substr(line)).empty()) text = text.substr(0, line);
    }
    if (!text.empty()) add(Token::Kind::data, std::string(text));
  }

  /// The end of a tag, with the white space that goes with it, if it stands here. `trims`: a new line after it goes
  /// too.
  bool take_end(std::string_view end, bool trims, bool plus) {
    const bool minus = sees("-");
    const std::size_t sign = minus || (plus && sees("+")) ? 1 : 0;
    if (!rest().substr(sign).starts_with(end)) return false;
    take(sign + end.size());
    if (minus) {
      take_space();
    } else if (trims && sign == 0 && sees("\n")) {
      take(1);
    }
    return true;
  }

  void comment() {
    const int line = line_;
    const std::size_t end = source_.find("#}", at_);
    if (end == source_.npos) refuse(where_, line, "the comment has no end");
    const bool sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    take(end - at_ - sign);
    take_end("#}", true, true);
  }

  /// A raw block, if one begins after the "{%" and its sign.
  bool raw() {
    std::size_t at = at_;
    const auto skip = [&] {
      while (const std::size_t bytes = space_at(std::string_view(source_).substr(at))) at += bytes;
    };
    const auto word = [&](std::string_view text) {
      const bool found = std::string_view(source_).substr(at).starts_with(text);
      if (found) at += text.size();
      return found;
    };
    skip();
    if (!word("raw")) return false;
    skip();
    const bool minus = word("-%}");
    if (!minus && !word("%}")) return false;
    const int line = line_;
    take(at - at_);
    if (minus) take_space();
    for (std::size_t open = at_; (open = source_.find("{%", open)) != source_.npos; ++open) {
      at = open + 2;
      const char sign = at < source_.size() ? source_[at] : '\0';
      if (sign == '-' || sign == '+') ++at;
      skip();
      if (!word("endraw")) continue;
      skip();
      std::string_view end = std::string_view(source_).substr(at);
      if (end.starts_with('-') || end.starts_with('+')) end.remove_prefix(1);
      if (!end.starts_with("%}")) continue;
      add_data(rest().substr(0, open - at_), sign, true);
      take(at - at_);
      take_end("%}", true, true);
      return true;
    }
    refuse(where_, line, "the raw block has no end");
  }

  void inside(bool block) {
    std::string closing;  // the brackets that are open
    while (true) {
      const int line = line_;
      if (closing.empty() && take_end(block ? "%}" : "}}", block, block)) {
        add(block ? Token::Kind::block_end : Token::Kind::variable_end).line = line;
        return;
      }
      if (at_ == source_.size()) return;  // the parser says what is missing
      if (space_at(rest()) > 0) {
        take_space();
      } else if (is_digit(source_[at_])) {
        number();
      } else if (is_name_start(source_[at_])) {
        std::size_t end = at_;
        while (end < source_.size() && (is_name_start(source_[end]) || is_digit(source_[end]))) ++end;
        if (end < source_.size() && static_cast<unsigned char>(source_[end]) >= 0x80) not_ascii(end);
        add(Token::Kind::name, source_.substr(at_, end - at_));
        take(end - at_);
      } else if (source_[at_] == '\'' || source_[at_] == '"') {
        string();
      } else {
        op(closing);
      }
    }
  }
  [[noreturn]] void not_ascii(std::size_t at) const {
    refuse(where_, line_, "names beyond ASCII are not supported: ", in_quotes(source_.substr(at, 12)));
  }

  void op(std::string& closing) {
    constexpr std::array<std::string_view, 26> ops{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                   "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                   ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto found = std::ranges::find_if(ops, [&](std::string_view op) { return sees(op); });
    if (found == ops.end()) {
      if (static_cast<unsigned char>(source_[at_]) >= 0x80) not_ascii(at_);
      refuse(where_, line_, "unexpected character ", in_quotes(rest().substr(0, 1)));
    }
    const char c = found->front();
    if (c == '{' || c == '(' || c == '[') closing += c == '{' ? '}' : c == '(' ? ')' : ']';
    if (c == '}' || c == ')' || c == ']') {
      if (closing.empty() || closing.back() != c) refuse(where_, line_, "unexpected '", c, "'");
      closing.pop_back();
    }
    add(Token::Kind::op, std::string(*found));
    take(found->size());
  }

  /// Digits with single underscores between them, from `at`; where they end.
  std::size_t digits(std::size_t at, int base = 10) const {
    const auto digit = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i], base); };
    while (digit(at) || (source_[at] == '_' && at > 0 && digit(at - 1) && digit(at + 1))) ++at;
    return at;
  }

  void number() {
    std::size_t end = digits(at_);
    const auto is = [&](std::size_t at, std::string_view any) {
      return at < source_.size() && any.find(source_[at]) != any.npos;
    };
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    bool real = false;
    if (!after_dot) {
      const std::size_t integer_end = end;
      if (is(end, ".") && end + 1 < source_.size() && is_digit(source_[end + 1])) end = digits(end + 1), real = true;
      const std::size_t sign = is(end, "eE") ? (is(end + 1, "+-") ? 1 : 0) + 1 : 0;
      if (sign > 0 && end + sign < source_.size() && is_digit(source_[end + sign])) {
        end = digits(end + sign), real = true;
      }
      if (!real) end = integer_end;
    }
    int base = 10;
    std::size_t prefix = 0;
    if (!real && source_[at_] == '0') {
      const int wanted = is(at_ + 1, "xX") ? 16 : is(at_ + 1, "oO") ? 8 : is(at_ + 1, "bB") ? 2 : 10;
      const std::size_t first = at_ + 2 + is(at_ + 2, "_");
      if (wanted != 10 && first < source_.size() && is_digit(source_[first], wanted)) {
        base = wanted, prefix = 2;
        end = digits(first, base);
      } else {  // no digit but 0 may follow
        end = at_ + 1;
        while (is(end, "0") || (is(end, "_") && is(end + 1, "0"))) ++end;
      }
    }
    std::string text = source_.substr(at_ + prefix, end - at_ - prefix);
    std::erase(text, '_');
    Token& token = add(real ? Token::Kind::real : Token::Kind::integer);
    if (real) {
      token.real = to_real(text).value();
    } else if (std::from_chars(text.data(), text.data() + text.size(), token.integer, base).ec != std::errc()) {
      refuse(where_, line_, "integers beyond 64 bits are not supported: ", in_quotes(text));
    }
    take(end - at_);
  }

  void string() {
    const char quote = source_[at_];
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) refuse(where_, line_, "the text that begins here has no end");
    std::string text = unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    add(Token::Kind::string, std::move(text));
    take(end + 1 - at_);
  }

  /// What Python makes of the text between quotes: .encode("ascii", "backslashreplace").decode("unicode-escape").
  std::string unescape(std::string_view text) const {
    constexpr char hex[] = "0123456789abcdef";
    std::string result;
    while (!text.empty()) {
      if (text[0] != '\\') {
        const std::size_t plain = std::min(text.find('\\'), text.size());
        result += text.substr(0, plain);
        text.remove_prefix(plain);
        continue;
      }
      text.remove_prefix(1);  // never the last character
      const Utf8Step step = utf8_step(text);
      const char c = text[0];
      text.remove_prefix(std::size_t(step.bytes));
      constexpr std::string_view names = "\\'\"abfnrtv", meanings = "\\'\"\a\b\f\n\r\t\v";
      if (step.code_point >= 0x80) {  // the backslash before a character that became an escape escapes its backslash
        const int width = step.code_point < 0x100 ? 2 : step.code_point < 0x10000 ? 4 : 8;
        (result += '\\') += width == 2 ? 'x' : width == 4 ? 'u' : 'U';
        for (int digit = width - 1; digit >= 0; --digit) result += hex[step.code_point >> 4 * digit & 15];
      } else if (const std::size_t name = names.find(c); name != names.npos) {
        result += meanings[name];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_code(result, text, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
      } else if (is_digit(c, 8)) {
        std::size_t more = 0;
        while (more < 2 && more < text.size() && is_digit(text[more], 8)) ++more;
        std::string digits(1, c);
        std::string_view all = digits.append(text.substr(0, more));
        append_code(result, all, int(all.size()), 8);
        text.remove_prefix(more);
      } else if (c == 'N') {
        refuse(where_, line_, "the escape '\\N' is not supported");
      } else if (c != '\n') {
        (result += '\\') += c;
      }
    }
    return result;
  }
  void append_code(std::string& result, std::string_view& text, int width, int base) const {
    std::uint32_t code = 0;
    const char* const end = text.data() + std::min(std::size_t(width), text.size());
    if (text.size() < std::size_t(width) || std::from_chars(text.data(), end, code, base).ptr != end) {
      refuse(where_, line_, "expected ", width, " digits in the escape, found ", in_quotes(text.substr(0, 8)));
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) refuse(where_, line_, "an escape of no character");
    append_utf8(result, char32_t(code));
    text.remove_prefix(std::size_t(width));
  }

  const std::string& where_;
  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

IVL_INLINE std::vector<Token> tokens_of(std::string_view source, const std::string& where) {
  return Lexer(source, where).run();
}

IVL_INLINE std::string TokenStream::describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::data:
      return "text";
    case Token::Kind::variable_begin:
      return "'{{'";
    case Token::Kind::variable_end:
      return "'}}'";
    case Token::Kind::block_begin:
      return "'{%'";
    case Token::Kind::block_end:
      return "'%}'";
    case Token::Kind::integer:
    case Token::Kind::real:
      return "a number";
    case Token::Kind::end:
      return "the end of the template";
    default:
      return in_quotes(token.text);
  }
}

}  // namespace ivl::detail::jinja
