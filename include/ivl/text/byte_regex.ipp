// The bodies of byte_regex.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/text/byte_regex.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// A class with what it surely holds and what it may hold, since ECMAScript and Python disagree about characters
/// beyond ASCII. The complement of a class turns the two round.
struct RegexClass {
  CodePoints sure, possible;

  static RegexClass of(const CodePoints& characters) { return {characters, characters}; }
  RegexClass complement() const { return {possible.complement(), sure.complement()}; }
  RegexClass& operator|=(const RegexClass& other) {
    sure |= other.sure;
    possible |= other.possible;
    return *this;
  }
};

inline std::optional<RegexClass> class_of_letter(char letter) {
  const CodePoints beyond_ascii({{0x80, CodePoints::largest}});
  const auto ascii = [&](std::vector<CodePoints::Range> ranges) {
    RegexClass result = RegexClass::of(CodePoints(std::move(ranges)));
    result.possible |= beyond_ascii;
    return result;
  };
  switch (letter) {
    case 'd':
      return ascii({{'0', '9'}});
    case 'D':
      return ascii({{'0', '9'}}).complement();
    case 'w':
      return ascii({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    case 'W':
      return ascii({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}).complement();
    case 's':
    case 'S': {
      RegexClass space = RegexClass::of(CodePoints({{'\t', '\r'}, {' ', ' '}}));
      // Python's str.isspace and ECMAScript's WhiteSpace and LineTerminator, together.
      space.possible |= CodePoints({{0x1C, 0x1F},
                                    {0x85, 0x85},
                                    {0xA0, 0xA0},
                                    {0x1680, 0x1680},
                                    {0x2000, 0x200A},
                                    {0x2028, 0x2029},
                                    {0x202F, 0x202F},
                                    {0x205F, 0x205F},
                                    {0x3000, 0x3000},
                                    {0xFEFF, 0xFEFF}});
      return letter == 's' ? space : space.complement();
    }
    default:
      return std::nullopt;
  }
}

}  // namespace detail

/// Recursive descent; every function reads what stands at at_.
class ByteRegexParser {
 public:
  using Node = ByteRegex::Node;
  using Kind = Node::Kind;

  ByteRegexParser(std::string_view pattern, std::string_view what) : pattern_(pattern), what_(what) {}

  std::vector<ByteRegex::Alternative> parse() {
    if (!is_utf8(pattern_)) refuse("expected UTF-8, found other bytes");
    std::vector<ByteRegex::Alternative> alternatives;
    do {
      const bool from_start = take('^');
      Node node = sequence();
      alternatives.push_back({from_start, take('$'), std::move(node)});
      if (!at_end() && peek() != '|') {
        if (peek() == ')') refuse("a ) without its (");
        refuse("$ is read at the end of the pattern or of one of its outermost alternatives alone");
      }
    } while (take('|'));
    return alternatives;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<RequestError>(what_, " ", in_quotes(pattern_), ": at byte ", at_ + 1, ": ", parts...);
  }

  bool at_end() const { return at_ == pattern_.size(); }
  char peek() const { return pattern_[at_]; }
  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool take(char byte) {
    const bool here = !at_end() && peek() == byte;
    at_ += here;
    return here;
  }

  Node sequence() {
    Node node{.kind = Kind::sequence};
    while (!at_end() && peek() != '|' && peek() != ')' && peek() != '$') {
      Node one = atom();
      repeat(one);
      node.parts.push_back(std::move(one));
    }
    return node;
  }

  Node either() {
    Node node{.kind = Kind::either};
    do node.parts.push_back(sequence());
    while (take('|'));
    if (!at_end() && peek() == '$')
      refuse("$ is read at the end of the pattern or of one of its outermost alternatives alone");
    return node;
  }

  static Node characters(CodePoints set) { return {.kind = Kind::characters, .characters = std::move(set)}; }

  Node atom() {
    switch (peek()) {
      case '(':
        return group();
      case '[':
        return characters(bracketed());
      case '.':
        ++at_;
        return characters(CodePoints({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).complement());
      case '\\':
        return characters(escape(false).sure);
      case '^':
        refuse("^ is read at the start of the pattern or of one of its outermost alternatives alone");
      case '*':
      case '+':
      case '?':
      case '{':
        refuse("'", peek(), "' has nothing to repeat; \\", peek(), " is the character itself");
      default:
        return characters(literal());
    }
  }

  CodePoints literal() {
    const Utf8Step step = utf8_step(pattern_.substr(at_));
    at_ += std::size_t(step.bytes);
    return CodePoints({{step.code_point, step.code_point}});
  }

  Node group() {
    constexpr int most_nested = 100;
    if (looking_at("(?")) {
      skip_group_kind();
    } else {
      ++at_;
    }
    if (++nested_ > most_nested) refuse("groups nested deeper than ", most_nested);
    Node node = either();
    --nested_;
    if (!take(')')) refuse("expected ) at the end of a group, found the end of the pattern");
    return node;
  }

  /// `(?:`, `(?<name>` or `(?P<name>`.
  void skip_group_kind() {
    for (const auto& [opening, name] : {std::pair{"(?=", "look-ahead"},
                                        {"(?!", "negative look-ahead"},
                                        {"(?<=", "look-behind"},
                                        {"(?<!", "negative look-behind"},
                                        {"(?#", "a comment"},
                                        {"(?>", "an atomic group"},
                                        {"(?(", "a conditional group"},
                                        {"(?P=", "a back-reference"}}) {
      if (looking_at(opening)) refuse(opening, ": ", name, " is not supported");
    }
    if (looking_at("(?:")) {
      at_ += 3;
      return;
    }
    const std::size_t name = looking_at("(?P<") ? 4 : looking_at("(?<") ? 3 : 0;
    if (name == 0) refuse("(?: flags are not supported");
    const std::size_t end = pattern_.find('>', at_);
    if (end == pattern_.npos) refuse("expected > behind the name of a group, found none");
    at_ = end + 1;
  }

  void repeat(Node& node) {
    int least = 0, most = -1;
    if (take('?')) {
      most = 1;
    } else if (take('+')) {
      least = 1;
    } else if (!at_end() && peek() == '{') {
      counts(least, most);
    } else if (!take('*')) {
      return;
    }
    take('?');  // lazy: other steps to the same texts
    if (!at_end() && peek() == '+') refuse("possessive repeats are not supported");
    if (!at_end() && (peek() == '*' || peek() == '?' || peek() == '{')) refuse("a repeat of a repeat; use a group");
    Node once = std::move(node);
    node = Node{.kind = Kind::repeat, .least = least, .most = most};
    node.parts.push_back(std::move(once));
  }

  void counts(int& least, int& most) {
    ++at_;
    least = number();
    most = least;
    if (take(',')) most = !at_end() && peek() == '}' ? -1 : number();
    if (!take('}')) refuse("expected {n}, {n,} or {n,m}; \\{ is the character itself");
    if (most >= 0 && most < least) refuse("expected counts in order, found {", least, ",", most, "}");
  }

  int number() {
    constexpr int most = 10'000;
    const std::size_t begin = at_;
    int value = 0;
    for (; !at_end() && peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + (peek() - '0');
      if (value > most) refuse("expected counts of at most ", most);
    }
    if (at_ == begin) refuse("expected {n}, {n,} or {n,m}; \\{ is the character itself");
    return value;
  }

  CodePoints bracketed() {
    ++at_;
    const bool negative = take('^');
    if (!at_end() && peek() == ']')
      refuse("a class that begins with ] is empty in ECMAScript and not in Python; \\] is the character itself");
    detail::RegexClass set;
    while (!at_end() && peek() != ']') {
      bool single = true;
      const detail::RegexClass first = in_class(single);
      if (pattern_.size() - at_ < 2 || peek() != '-' || pattern_[at_ + 1] == ']') {
        set |= first;
        continue;
      }
      ++at_;
      const detail::RegexClass last = in_class(single);
      if (!single) refuse("a range in a class needs a character at each end");
      const char32_t low = first.sure.ranges()[0].first, high = last.sure.ranges()[0].first;
      if (low > high) refuse("a range in a class needs its ends in order");
      set |= detail::RegexClass::of(CodePoints({{low, high}}));
    }
    if (!take(']')) refuse("expected ] at the end of a class, found the end of the pattern");
    return (negative ? set.complement() : set).sure;
  }

  /// Clears `single` where it is a class.
  detail::RegexClass in_class(bool& single) {
    if (peek() != '\\') return detail::RegexClass::of(literal());
    if (at_ + 1 < pattern_.size() && detail::class_of_letter(pattern_[at_ + 1])) single = false;
    return escape(true);
  }

  detail::RegexClass escape(bool inside_class) {
    if (at_ + 1 == pattern_.size()) refuse("a \\ at the end");
    const char letter = pattern_[at_ + 1];
    if (const auto set = detail::class_of_letter(letter)) {
      at_ += 2;
      return *set;
    }
    const auto character = [this](char32_t code_point, std::size_t bytes) {
      at_ += bytes;
      return detail::RegexClass::of(CodePoints({{code_point, code_point}}));
    };
    constexpr std::string_view letters = "tnrfv", meanings = "\t\n\r\f\v";
    if (const auto at = letters.find(letter); at != letters.npos) return character(char32_t(meanings[at]), 2);
    const bool digit_follows = at_ + 2 < pattern_.size() && pattern_[at_ + 2] >= '0' && pattern_[at_ + 2] <= '9';
    if (letter == '0' && !digit_follows) return character(0, 2);
    if (letter == 'b' && inside_class) return character('\b', 2);
    if (letter == 'x') return character(hexadecimal(2), 4);
    if (letter == 'u') return character(hexadecimal(4), 6);
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (letter >= '0' && letter <= '9') refuse("\\", letter, ": back-references and octal codes are not supported");
    if (letter == 'b' || letter == 'B') refuse("\\", letter, ": word boundaries are not supported");
    if (is_letter) refuse("\\", letter, " is not supported");
    ++at_;
    return detail::RegexClass::of(literal());
  }

  char32_t hexadecimal(std::size_t digits) {
    const std::string_view code = pattern_.substr(at_ + 2).substr(0, digits);
    if (code.size() < digits || code.find_first_not_of("0123456789abcdefABCDEF") != code.npos)
      refuse("\\", pattern_[at_ + 1], ": expected ", digits, " hexadecimal digits");
    const auto value = char32_t(std::stoul(std::string(code), nullptr, 16));
    if (value >= 0xD800 && value <= 0xDFFF) refuse("\\u", code, ": half of a pair is no character; write it itself");
    return value;
  }

  std::string_view pattern_, what_;
  std::size_t at_ = 0;
  int nested_ = 0;
};

IVL_INLINE ByteRegex::ByteRegex(std::string_view pattern, std::string_view what)
    : alternatives_(ByteRegexParser(pattern, what).parse()) {}

IVL_INLINE void ByteRegex::add(ByteGrammar& grammar, const Node& node, int from, int to, Spelling spelling) {
  switch (node.kind) {
    case Node::Kind::characters:
      read_spelled(grammar, from, node.characters, to, spelling);
      break;
    case Node::Kind::sequence:
      for (const Node& part : node.parts) {
        const int next = grammar.add_state();
        add(grammar, part, from, next, spelling);
        from = next;
      }
      grammar.skip(from, to);
      break;
    case Node::Kind::either:
      for (const Node& part : node.parts) add(grammar, part, from, to, spelling);
      break;
    case Node::Kind::repeat:
      add_repeated(grammar, from, to, node.least, node.most,
                   [&](int before, int after) { add(grammar, node.parts[0], before, after, spelling); });
      break;
  }
}

IVL_INLINE void ByteRegex::add_whole(ByteGrammar& grammar, int from, int to, Spelling spelling) const {
  for (const Alternative& alternative : alternatives_) add(grammar, alternative.node, from, to, spelling);
}

IVL_INLINE void ByteRegex::add_search(ByteGrammar& grammar, int from, int to, Spelling spelling) const {
  const auto add_anything = [&](int before) {
    const int loop = grammar.add_state();
    grammar.skip(before, loop);
    read_spelled(grammar, loop, CodePoints::all(), loop, spelling);
    return loop;
  };
  for (const Alternative& alternative : alternatives_) {
    const int begin = alternative.from_start ? from : add_anything(from), end = grammar.add_state();
    add(grammar, alternative.node, begin, end, spelling);
    grammar.skip(alternative.to_end ? end : add_anything(end), to);
  }
}

IVL_INLINE void read_spelled(ByteGrammar& grammar, int from, const CodePoints& characters, int to,
                             ByteRegex::Spelling spelling) {
  if (spelling == ByteRegex::Spelling::plain) return grammar.read_character(from, characters, to);
  const CodePoints escaped({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  CodePoints others = characters.complement();
  grammar.read_character(from, (others |= escaped).complement(), to);
  for (const CodePoints::Range& range : characters.ranges()) {
    for (char32_t c = range.first; c <= std::min<char32_t>(range.last, '\\'); ++c) {
      constexpr std::string_view named = "\"\\\b\f\n\r\t", names = "\"\\bfnrt";
      constexpr char digits[] = "0123456789abcdef";
      if (const auto at = named.find(char(c)); at != named.npos)
        grammar.read_text(from, std::string{'\\', names[at]}, to);
      else if (c < 0x20)
        grammar.read_text(from, std::string("\\u00") + digits[c / 16] + digits[c % 16], to);
    }
  }
}

}  // namespace ivl
