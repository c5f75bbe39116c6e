// Regular expressions that texts are made by: the part of the syntax on which ECMAScript and Python's `re` agree.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/byte_grammar.hpp"
#include "ivl/text/code_points.hpp"

namespace ivl {

/// Read: literals, `.`, classes, `\d \w \s \D \W \S`, escapes of single characters, groups (named ones too), `|`, `?`,
/// `*`, `+`, `{n}`, `{n,}`, `{n,m}`, lazy or not, `^` and `$` at the ends of the pattern or of its outermost
/// alternatives. All else is refused, by its name and place: look-around, back-references, `\b`, flags, possessive
/// repeats, and what the two languages read differently.
/// Where they disagree about a class, a text is made only of characters that both let pass: `.` is neither a line feed
/// nor a carriage return nor U+2028 and U+2029, `\d`, `\w`, `\D` and `\W` are ASCII, and `\S` leaves out what either
/// calls space.
class ByteRegex {
 public:
  /// How the characters of a text are written.
  enum class Spelling {
    plain,  ///< in UTF-8
    json,   ///< within a JSON string: escaped where JSON demands it, and only there
  };

  /// `what` is named in errors. Throws RequestError.
  ByteRegex(std::string_view pattern, std::string_view what);

  /// Texts that match as a whole.
  void add_whole(ByteGrammar& grammar, int from, int to, Spelling spelling = Spelling::plain) const;

  /// Texts that hold a match.
  void add_search(ByteGrammar& grammar, int from, int to, Spelling spelling) const;

 private:
  friend class ByteRegexParser;

  struct Node {
    enum class Kind : std::uint8_t { characters, sequence, either, repeat };
    Kind kind = Kind::sequence;
    CodePoints characters = {};
    std::vector<Node> parts = {};
    int least = 1, most = 1;  ///< of a repeat; most -1: no end
  };

  struct Alternative {
    bool from_start, to_end;
    Node node;
  };

  static void add(ByteGrammar& grammar, const Node& node, int from, int to, Spelling spelling);

  std::vector<Alternative> alternatives_;
};

/// Reads one of `characters`, each written as `spelling` says.
void read_spelled(ByteGrammar& grammar, int from, const CodePoints& characters, int to, ByteRegex::Spelling spelling);

/// Repeats from `least` to `most` times what `add_once(from, to)` adds; most -1: without end.
template <class AddOnce>
void add_repeated(ByteGrammar& grammar, int from, int to, int least, int most, const AddOnce& add_once) {
  const auto once = [&](int before) {
    const int after = grammar.add_state();
    add_once(before, after);
    return after;
  };
  for (int i = 0; i < least; ++i) from = once(from);
  if (most < 0) {
    const int loop = grammar.add_state();
    grammar.skip(from, loop);
    grammar.skip(once(loop), loop);
    grammar.skip(loop, to);
    return;
  }
  for (int i = least; i < most; ++i) {
    grammar.skip(from, to);
    from = once(from);
  }
  grammar.skip(from, to);
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/byte_regex.ipp"
#endif
