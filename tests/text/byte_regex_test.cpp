// Regular expressions against std::regex, of all short texts of random ones; what is refused is refused by name.
#include "ivl/text/byte_regex.hpp"

#include <doctest/doctest.h>

#include <random>
#include <regex>
#include <string>
#include <utility>

#include "constraint_checks.hpp"

namespace {

namespace regexes {

using namespace ivl;
using json_tokens::check_texts, json_tokens::refused, json_tokens::takes, json_tokens::regex;
using json_tokens::Texts;

std::string random_regex(std::mt19937_64& random, int depth) {
  const auto draw = [&](int below) { return int(random() % std::uint64_t(below)); };
  const auto deeper = [&] { return random_regex(random, depth - 1); };
  switch (draw(depth > 0 ? 7 : 2)) {
    case 0:
      return std::string(1, char('a' + draw(3)));
    case 1: {
      const char* const sets[] = {"[ab]", "[^b]", "[a-c]", ".", "\\d", "\\w", "[^\\d]", "[\\W1]", "\\S", "\\D", "\\."};
      return sets[draw(11)];
    }
    case 2:
    case 3:
      return deeper() + deeper();
    case 4:
      return "(" + deeper() + "|" + deeper() + ")";
    case 5:
      return "(?:" + deeper() + ")" + std::string(1, "*+?"[draw(3)]);
    default: {
      const char* const repeats[] = {"{2}", "{0,2}", "{1,}", "*?", "{1,2}?", "{0}"};
      return "(" + deeper() + ")" + repeats[draw(6)];
    }
  }
}

TEST_CASE("Random regular expressions take what std::regex takes, of all short texts") {
  Texts texts{""};
  for (std::size_t first = 0, length = 0; length < 4; ++length) {
    const std::size_t last = texts.size();
    for (; first < last; ++first)
      for (const char letter : {'a', 'b', 'c', '1', '.'}) texts.push_back(texts[first] + letter);
  }
  REQUIRE(texts.size() == 1 + 5 + 25 + 125 + 625);
  std::mt19937_64 random(7);
  int taken = 0;
  for (int round = 0; round < 300; ++round) {
    const std::string pattern = random_regex(random, 4);
    CAPTURE(pattern);
    const auto constraint = regex(pattern);
    const std::regex reference(pattern);
    for (const std::string& text : texts) {
      CAPTURE(text);
      const bool wanted = std::regex_match(text, reference);
      REQUIRE(takes(*constraint, text) == wanted);
      taken += wanted;
    }
  }
  CHECK(taken > 10'000);
}

TEST_CASE("Regular expressions read characters, not bytes, and what ECMAScript and Python agree on") {
  check_texts(*regex("^.[\u00e0-\u00ff]{2}$"), {"\u65e5\u00e9\u00ff", "a\u00e0\u00e0"},
              {"\u65e5\u00e9", "\nab", "\u2028\u00e9\u00e9", "\u65e5\u00e9\u0100"});
  check_texts(*regex("[^a]"), {"b", "\u00e9", "\U0001F600", "\n"}, {"a", "", "\xFF", "\xED\xA0\x80", "\xC0\x80"});
  check_texts(*regex("\\d\\w\\s"), {"1a ", "1_\t"}, {"\u0661a ", "1\u00e9 ", "1a\u00a0"});
  check_texts(*regex("\\D|\\W|[^\\d]|[^\\w]"), {"-", "\n"}, {"\u00e9", "\u0661"});
  check_texts(*regex("\\S"), {"a", "\u00e9", "\u0661"}, {" ", "\u00a0", "\u3000", "\x1c"});
  check_texts(*regex("[^\\S]|[^\\s]x"), {" ", "ax", "\u00e9x"}, {"a", "\u00a0", "\u00a0x"});
  check_texts(*regex("\\x41\\u00e9\\t\\.\\/[\\b]\\0"), {std::string("A\u00e9\t./\b\0", 8)}, {"A"});
  check_texts(*regex("^a|b$"), {"a", "b"}, {"ab", "xb"});
  check_texts(*regex("(?P<n>a)(?<m>b)]}"), {"ab]}"}, {"ab"});
  check_texts(*regex(""), {""}, {"a"});
  check_texts(*regex("[\\w-]+"), {"a-b"}, {"a b"});
}

TEST_CASE("What a regular expression may not hold is refused by name and place") {
  const std::pair<const char*, const char*> cases[] = {
      {"a(?=b)", "at byte 2: (?=: look-ahead is not supported"},
      {"(?!b)", "at byte 1: (?!: negative look-ahead is not supported"},
      {"(?<=b)", "at byte 1: (?<=: look-behind is not supported"},
      {"(?<!b)", "at byte 1: (?<!: negative look-behind is not supported"},
      {"(?>a)", "at byte 1: (?>: an atomic group is not supported"},
      {"(?#a)", "at byte 1: (?#: a comment is not supported"},
      {"(?P=n)", "at byte 1: (?P=: a back-reference is not supported"},
      {"(a)?(?(1)b)", "at byte 5: (?(: a conditional group is not supported"},
      {"(?i)a", "at byte 1: (?: flags are not supported"},
      {"(?<n", "expected > behind the name of a group"},
      {"(a)\\1", "at byte 4: \\1: back-references and octal codes are not supported"},
      {"\\01", "at byte 1: \\0: back-references and octal codes are not supported"},
      {"\\ba", "at byte 1: \\b: word boundaries are not supported"},
      {"\\p{L}", "at byte 1: \\p is not supported"},
      {"a\\Z", "at byte 2: \\Z is not supported"},
      {"a$b", "at byte 3: $ is read at the end"},
      {"(a$)b", "at byte 3: $ is read at the end"},
      {"a^b", "at byte 2: ^ is read at the start"},
      {"(^a)", "at byte 2: ^ is read at the start"},
      {"a*+", "at byte 3: possessive repeats are not supported"},
      {"a**", "at byte 3: a repeat of a repeat"},
      {"*a", "at byte 1: '*' has nothing to repeat"},
      {"a|{2}", "at byte 3: '{' has nothing to repeat"},
      {"a{,3}", "expected {n}, {n,} or {n,m}"},
      {"a{2", "expected {n}, {n,} or {n,m}"},
      {"a{3,2}", "expected counts in order, found {3,2}"},
      {"a{10001}", "expected counts of at most 10000"},
      {"[]a]", "a class that begins with ]"},
      {"[a", "expected ] at the end of a class"},
      {"[b-a]", "a range in a class needs its ends in order"},
      {"[\\d-a]", "a range in a class needs a character at each end"},
      {"(a", "expected ) at the end of a group"},
      {"a)", "at byte 2: a ) without its ("},
      {"a\\", "a \\ at the end"},
      {"\\xg1", "\\x: expected 2 hexadecimal digits"},
      {"\\ud83d", "half of a pair is no character"},
      {"\xFF", "expected UTF-8"},
      {"(((((((a{1000}){1000})))))){1000}", "regex: it needs more than"},
      {"(a|b)*a(a|b){20}", "regex: its automaton needs more than 32768 states"},
  };
  for (const auto& [pattern, wanted] : cases) {
    CAPTURE(pattern);
    const std::string found = refused([pattern = pattern] { regex(pattern); });
    CAPTURE(found);
    CHECK(found.starts_with("regex"));
    CHECK(found.find(wanted) != found.npos);
  }
  CHECK(refused([] { regex(std::string(200, '(') + std::string(200, ')')); }).find("deeper than 100") !=
        std::string::npos);
}

}  // namespace regexes

}  // namespace
