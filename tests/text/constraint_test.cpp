// Texts that constraints let through: each construct with what it takes and what it does not, every refusal by name,
// masks against a plain reading of every token, regular expressions against std::regex, and answers that Python's
// jsonschema and re have judged (tests/golden/check_constraints.py).
#include "ivl/text/constraint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../support/temporary_folder.hpp"
#include "golden_tokenizers.hpp"
#include "ivl/files/json.hpp"
#include "json_tokens.hpp"

namespace {

namespace constrained {

using namespace ivl;
using json_tokens::takes;
using Texts = std::vector<std::string>;

struct Small {
  Tokenizer tokenizer = json_tokens::tokenizer();
  std::shared_ptr<const TokenTrie> tokens = std::make_shared<const TokenTrie>(tokenizer);
};

const Small& small() {
  static const Small result;
  return result;
}

std::shared_ptr<const Constraint> regex(std::string_view pattern) { return Constraint::regex(small().tokens, pattern); }
std::shared_ptr<const Constraint> schema(std::string_view text) {
  return Constraint::json_schema(small().tokens, text);
}

template <class Action>
std::string refused(const Action& action) {
  return ivl::test::error_of<RequestError>(action);
}

void check_texts(const Constraint& constraint, const Texts& taken, const Texts& not_taken) {
  for (const std::string& text : taken) {
    CAPTURE(text);
    CHECK(takes(constraint, text));
  }
  for (const std::string& text : not_taken) {
    CAPTURE(text);
    CHECK_FALSE(takes(constraint, text));
  }
}

// ---- masks ----------------------------------------------------------------------------------------------------------

/// What `mask` leaves of rows of zeros.
std::vector<int> left_by(ConstraintState& state, int ids) {
  std::vector<float> logits(std::size_t(ids), 0.0f);
  state.mask(logits);
  std::vector<int> left;
  for (int id = 0; id < ids; ++id)
    if (!std::isinf(logits[std::size_t(id)])) left.push_back(id);
  return left;
}

/// The same, every token read on its own behind all that was read before.
std::vector<int> left_by_reading(const Tokenizer& tokenizer, const Constraint& constraint, const std::string& before,
                                 const std::vector<int>& stop_ids, int ids) {
  std::vector<ByteCursor::Entry> entries(ByteAutomaton::most_entries);
  const auto read = [&](ByteCursor& cursor, std::string_view text) {
    int ended = 0;
    for (const char byte : text)
      if (!cursor.read(constraint.automaton(), std::uint8_t(byte), entries, cursor.top + 1, ended)) return false;
    return true;
  };
  ByteCursor reached{.state = constraint.automaton().start()};
  REQUIRE(read(reached, before));
  std::vector<int> left;
  const std::vector<ByteCursor::Entry> open = entries;
  for (int id = 0; id < ids; ++id) {
    entries = open;
    ByteCursor cursor = reached;
    const bool stops = std::ranges::find(stop_ids, id) != stop_ids.end();
    const bool text = id < tokenizer.size() && !tokenizer.is_special(id) && !tokenizer.bytes_of(id).empty();
    if (stops ? constraint.automaton().accepting(reached.state) : text && read(cursor, tokenizer.bytes_of(id)))
      left.push_back(id);
  }
  return left;
}

/// Follows random tokens, of which one that has a text ends answers too, and compares every mask; the one that opens
/// most where `nests`.
void check_masks(const Tokenizer& tokenizer, const std::shared_ptr<const Constraint>& constraint, std::uint64_t seed,
                 bool nests, int most_tokens) {
  const std::vector<int> stop_ids{*tokenizer.id_of("<|special|>"), *tokenizer.id_of("abc")};
  const int ids = tokenizer.size() + 70;
  std::mt19937_64 random(seed);
  ConstraintState state(constraint, stop_ids);
  std::string text;
  for (int number = 0; number < most_tokens; ++number) {
    const std::vector<int> left = left_by(state, ids);
    CAPTURE(text);
    REQUIRE(left == left_by_reading(tokenizer, *constraint, text, stop_ids, ids));
    REQUIRE(!left.empty());
    int id = left[random() % left.size()];
    for (const int each : left)
      if (nests && (tokenizer.bytes_of(each) == "[" || tokenizer.bytes_of(each) == "{")) id = each;
    if (std::ranges::find(stop_ids, id) != stop_ids.end()) return;
    state.accept(id);
    text += tokenizer.bytes_of(id);
  }
}

/// With so many tokens that what may follow in a string is kept, and with some that end one and go on.
Tokenizer large_tokenizer() {
  small_tokenizer::Merges merges{{"\"", "}"}, {"\"", ","}, {"[", "["}, {"{", "\""}, {"\"", ":"}};
  for (char first = 'a'; first <= 'z'; ++first) {
    for (char second = 'a'; second <= 'z'; ++second) {
      const std::string pair{first, second};
      merges.push_back({pair.substr(0, 1), pair.substr(1)});
      if (second < 'd') {
        merges.push_back({pair, "\""});
        merges.push_back({pair, "\","});
        merges.push_back({pair, "\"}"});
      }
      for (char third = 'a'; third <= 'd'; ++third) merges.push_back({pair, std::string(1, third)});
    }
  }
  return Tokenizer::from_json(small_tokenizer::description(merges).dump());
}

TEST_CASE("A mask leaves the tokens that can be read, one by one, and stop tokens where the text may end") {
  const char* const recursive = R"({"$defs": {"t": {"type": "object", "required": ["k", "name"], "properties": {
      "k": {"type": "array", "items": {"$ref": "#/$defs/t"}}, "name": {"type": "string"}}}}, "$ref": "#/$defs/t"})";
  const Tokenizer large = large_tokenizer();
  const auto large_tokens = std::make_shared<const TokenTrie>(large);
  std::uint64_t seed = 0;
  for (const bool nests : {false, true}) {
    for (int round = 0; round < 5; ++round) {
      for (const auto& [tokenizer, tokens] : {std::pair(&small().tokenizer, small().tokens), {&large, large_tokens}}) {
        const int most_tokens = nests ? 150 : 40;
        check_masks(*tokenizer, Constraint::json_object(tokens), ++seed, nests, most_tokens);
        check_masks(*tokenizer, Constraint::json_schema(tokens, recursive), ++seed, nests, most_tokens);
        check_masks(*tokenizer, Constraint::json_schema(tokens, R"({"type": "array", "items": {"type": "string"}})"),
                    ++seed, nests, most_tokens);
        check_masks(*tokenizer, Constraint::regex(tokens, "[a-c]+b?|\\{{0,3}\xE6\x97\xA5|[^a]b\""), ++seed, nests, 9);
        check_masks(*tokenizer, Constraint::choice(tokens, Texts{"ab", "abc", "b", "", "\"},"}), ++seed, nests, 9);
      }
    }
  }
}

TEST_CASE("What may follow in a string is found once, and then for all strings") {
  const Tokenizer tokenizer = large_tokenizer();
  const auto tokens = std::make_shared<const TokenTrie>(tokenizer);
  REQUIRE(tokens->nodes().size() > 3000);
  const auto constraint = Constraint::json_schema(tokens, R"({"type": "object", "required": ["a", "b"],
      "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})");
  std::vector<float> logits(std::size_t(tokenizer.size()));
  const std::vector<int> stop_ids{*tokenizer.id_of("<|special|>")};
  const auto nodes_behind = [&](std::string_view text) {
    ConstraintState state(constraint, stop_ids);
    for (const char byte : text) state.accept(std::uint8_t(byte));
    state.mask(logits);
    return state.visited();
  };
  CHECK(nodes_behind("{\"a\": \"") > 2000);
  CHECK(nodes_behind("{\"a\": \"xyz") < 1000);
  CHECK(nodes_behind("{\"a\": \"xyz\", \"b\": \"") < 1000);
}

TEST_CASE("Text of special tokens is written by other tokens, and a token that may not follow is not accepted") {
  const Tokenizer& tokenizer = small().tokenizer;
  const auto constraint = Constraint::choice(small().tokens, Texts{"<|special|>"});
  const int special = json_tokens::stop_id(tokenizer), size = tokenizer.size();
  ConstraintState state(constraint, {special});
  CHECK(left_by(state, size) == std::vector<int>{'<'});
  CHECK(refused([&] { state.accept('x'); }) == "constraint: token 120 may not follow here");
  CHECK(refused([&] { state.accept(special); }) ==
        "constraint: token " + std::to_string(special) + " ends the answer where its text may not end");
  CHECK(refused([&] { state.accept(size + 5); }).ends_with("may not follow here"));
  CHECK(refused([&] { ConstraintState none(constraint, {}); }).starts_with("constraint: expected a stop token"));
}

TEST_CASE("A tokenizer that leaves out an answer's first space is told that no answer can begin with one") {
  Json description = small_tokenizer::description();
  const auto folder = ivl::test::real_tokenizer("internlm2_base");
  if (folder.empty()) return;
  const auto tokens = std::make_shared<const TokenTrie>(Tokenizer::from_folder(folder));
  REQUIRE(tokens->drops_first_space());
  CHECK(refused([&] {
          Constraint::choice(tokens, Texts{"a", " b"});
        }) == "choice: a text may begin with a space, which this tokenizer leaves out of answers");
  CHECK_NOTHROW(Constraint::choice(tokens, Texts{"a b"}));
  CHECK_NOTHROW(Constraint::json_object(tokens));
}

// ---- choices and regular expressions --------------------------------------------------------------------------------

TEST_CASE("A choice takes its texts and nothing else") {
  check_texts(*Constraint::choice(small().tokens, Texts{"red", "re", "gr\u00fcn", ""}), {"red", "re", "gr\u00fcn", ""},
              {"r", "rede", "green", "gr", "gr\u00fc"});
  CHECK(refused([] { Constraint::choice(small().tokens, {}); }) == "choice: expected at least one text, found none");
  CHECK(refused([] { Constraint::choice(small().tokens, Texts{"a\xFF"}); }) ==
        "choice: expected UTF-8, found 'a\\xff'");
}

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

// ---- schemas --------------------------------------------------------------------------------------------------------

struct SchemaCase {
  const char* schema;
  Texts taken, not_taken;
};

TEST_CASE("Each keyword of a schema takes what it allows, written in the one way that we write") {
  const SchemaCase cases[] = {
      {R"({"type": "null"})", {"null"}, {"", "nul", "null ", "true"}},
      {R"({"type": ["boolean", "null"]})", {"true", "false", "null"}, {"1", "\"true\""}},
      {R"({"type": "string"})",
       {R"("")", R"("a\"\\\/\b\f\n\r\t\u00e9\ud7ffé日😀")", R"("\ud83d\ude00")", "\"\x7f\""},
       {"\"", "\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00\ud83d")", R"("\ud83d\u0041")", "\"\xFF\"", "a",
        R"("a"b)"}},
      {R"({"minLength": 1, "maxLength": 2})",
       {R"("a")", R"("日😀")", R"("\n\ud83d\ude00")"},
       {R"("")", R"("abc")", "1"}},
      {R"({"pattern": "^[^b]\"?$"})",
       {R"("a")", R"("a\"")", R"("\n")", R"("\\")", R"("\u0001")"},
       {R"("b")", R"("\u0061")", R"("\u0062")", R"("")", R"("\u000a")", "\"\n\"", "\"\"\""}},
      {R"({"type": "string", "pattern": "b+|^c|d$"})",
       {R"("abbc")", R"("cx")", R"("xd")"},
       {R"("a")", R"("xc")", R"("dx")"}},
      {R"({"type": "integer"})",
       {"0", "-1", "999999999999999999"},
       {"-0", "01", "1.0", "1000000000000000000", "1e3", "+1", ""}},
      {R"({"type": "number"})",
       {"0", "-0", "1.50", "-0.001e-10", "1E5", "999999999999999.999999999999999"},
       {"01", "1.", ".5", "1e", "1e100", "NaN", "1000000000000000", "0.1234567890123456"}},
      {R"({"type": "integer", "minimum": -2.5, "exclusiveMaximum": 3, "maximum": 7})",
       {"-2", "-1", "0", "2"},
       {"-3", "3", "-0"}},
      {R"({"type": "integer", "exclusiveMinimum": 1.5, "maximum": 1e1})", {"2", "10"}, {"1", "11"}},
      {R"({"minimum": 0, "exclusiveMaximum": 1})",
       {"0", "0.99", "-0.0", "0.0"},
       {"1", "1.0", "-0.1", "0.99e0", "1e-1"}},
      {R"({"type": "number", "exclusiveMinimum": -10, "maximum": 12})",
       {"-9.99", "-9", "12", "12.00", "11.9", "0.5", "-0"},
       {"-10", "-10.0", "12.01", "13", "100"}},
      {R"({"type": "number", "exclusiveMinimum": 3, "maximum": 3})", {}, {}},
      {R"({"enum": ["a\n", 1, 1.5, null, [1, {"b": []}], {}]})",
       {R"("a\n")", "1", "1.5", "null", R"([1, {"b": []}])", "{}"},
       {R"("a")", "1.0", "2", R"([1,{"b": []}])", "[]"}},
      {R"({"type": ["string", "integer"], "enum": ["a", 1, 1.5, 2.0, null]})", {R"("a")", "1", "2.0"}, {"1.5", "null"}},
      {R"({"const": {"z": "日", "a": [true, "\""]}})",
       {R"({"z": "日", "a": [true, "\""]})"},
       {R"({"a": [true, "\""], "z": "日"})"}},
      {R"({"type": "array", "items": {"type": "null"}})",
       {"[]", "[null]", "[null, null, null, null]"},
       {"[null,null]", "[null, ]", "[ ]", "[1]"}},
      {R"({"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 3})",
       {"[null, null]", "[null, null, null]"},
       {"[]", "[null]", "[null, null, null, null]"}},
      {R"({"items": {"type": "null"}, "minItems": 2})", {"[null, null]", "[null, null, null, null]"}, {"[null]"}},
      {R"({"prefixItems": [{"const": 1}, {"const": 2}], "items": {"const": 3}})",
       {"[]", "[1]", "[1, 2]", "[1, 2, 3, 3]"},
       {"[2]", "[1, 3]", "[1, 2, 4]"}},
      {R"({"prefixItems": [{"const": 1}], "items": false, "minItems": 1, "uniqueItems": false})",
       {"[1]"},
       {"[]", "[1, 1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "object", "properties": {"b": {"const": 1}, "a\"": {"const": 2}, "c": {"const": 3}}, "required": ["a\""]})",
       {R"({"b": 1, "a\"": 2, "c": 3})", R"({"a\"": 2})", R"({"b": 1, "a\"": 2})", R"({"a\"": 2, "c": 3})"},
       {"{}", R"({"b": 1})", R"({"a\"": 2, "b": 1})", R"({"a\"": 2,"c": 3})", R"({"a\"":2})", R"({"a\"": 2, })",
        R"({"a\"": 2, "d": 1})"}},
      {R"({"properties": {"a": {"const": 1}, "b": {"const": 2}}})",
       {"{}", R"({"a": 1})", R"({"b": 2})", R"({"a": 1, "b": 2})"},
       {R"({, "b": 2})", R"({"b": 2, "a": 1})", "1"}},
      {R"({"properties": {"a": false, "b": true}, "additionalProperties": true})",
       {"{}", R"({"b": [{"x": null}]})"},
       {R"({"a": 1})", R"({"c": 1})"}},
      {R"({"type": "object", "additionalProperties": {"const": 1}})",
       {"{}", R"({"": 1})", R"({"a\n": 1, "b": 1})"},
       {R"({"a": 2})", R"({"\u0061": 1})", R"({"a": 1,"b": 1})"}},
      {R"({"type": "object", "properties": {}, "additionalProperties": false})", {"{}"}, {R"({"a": 1})"}},
      {R"({"type": "object"})", {"{}", R"({"a": {"b": [1, "x", null, true]}})"}, {"[]", R"({"a"})", R"({1: 1})"}},
      {R"({"anyOf": [{"const": "a"}, {"type": "string", "maxLength": 1}, {"type": "array", "items": {"const": 1}},
          {"type": "array", "items": {"const": "x"}}]})",
       {R"("a")", R"("b")", R"("")", "[1, 1]", R"(["x"])", "[]"},
       {R"("ab")", R"([1, "x"])"}},
      {R"({"oneOf": [{"type": "string"}, {"enum": [1, 2]}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "null"}}})",
       {R"("a")", "1", "null"},
       {"3"}},
      {R"({"allOf": [{"type": "null"}], "title": "T", "description": "D", "default": 1, "examples": [1], "$comment": "c",
          "$schema": "s", "$id": "i", "readOnly": true, "deprecated": true, "writeOnly": true})",
       {"null"},
       {"1"}},
      {R"({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"$ref": "#/definitions/c"}, "c": {"type": "null"}}})",
       {"null"},
       {"1"}},
      {R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]})",
       {R"({"next": null})", R"({"next": {"next": {"next": null}}})"},
       {"{}", "null"}},
      {"true", {"1", "[]"}, {""}},
      {"{}", {"null", R"([{"a": "b"}, 1.5e3])"}, {"nul"}},
  };
  for (const SchemaCase& each : cases) {
    CAPTURE(each.schema);
    if (each.taken.empty()) {
      CHECK(refused([&] { schema(each.schema); }) ==
            "json_schema: no text follows it: what it asks for excludes each other");
      continue;
    }
    check_texts(*schema(each.schema), each.taken, each.not_taken);
  }
}

TEST_CASE("Integers between bounds are all of those and no others") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 60; ++round) {
    const int least = int(random() % 2300) - 1150, most = least + 1 + int(random() % (round % 2 == 0 ? 30 : 2000));
    CAPTURE(least);
    CAPTURE(most);
    const Json bounds{{"type", "integer"}, {"minimum", least}, {"maximum", most}};
    const auto constraint = schema(bounds.dump());
    for (int number = -1300; number < 4000; ++number) {
      if (takes(*constraint, std::to_string(number)) != (number >= least && number <= most)) {
        CAPTURE(number);
        FAIL("wrong");
      }
    }
    const auto decimals = schema(Json{{"type", "number"}, {"exclusiveMinimum", least}, {"maximum", most}}.dump());
    for (int tenths = 10 * least - 30; tenths < 10 * least + 30; ++tenths) {
      for (const int number : {tenths, 10 * most - 10 * least + tenths}) {
        const std::string text = (number < 0 ? "-" : "") + std::to_string(std::abs(number) / 10) + "." +
                                 std::to_string(std::abs(number) % 10);
        CAPTURE(text);
        REQUIRE(takes(*decimals, text) == (number > 10 * least && number <= 10 * most));
      }
    }
  }
}

TEST_CASE("Every text ends within 64 levels, and one that has to nest deeper is refused") {
  const auto nested = [](int depth, const std::string& inside) {
    return std::string(std::size_t(depth), '[') + inside + std::string(std::size_t(depth), ']');
  };
  check_texts(*schema("{}"), {nested(64, ""), nested(64, "\"a\""), nested(63, "{\"a\": \"b\"}")},
              {nested(65, ""), nested(64, "{}")});
  // Each level of it needs one more below it.
  const auto pairs =
      schema(R"({"$defs": {"p": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "array",
      "items": {"$ref": "#/$defs/p"}}}}, "$ref": "#/$defs/p"})");
  check_texts(*pairs, {nested(2, ""), nested(64, "")}, {nested(63, ""), nested(66, "")});
  Json deep{{"type", "null"}};
  for (int level = 0; level < 30; ++level)
    deep = {{"type", "array"},
            {"minItems", 1},
            {"maxItems", 1},
            {"items", {{"type", "array"}, {"minItems", 1}, {"items", deep}}}};
  CHECK(takes(*schema(deep.dump()), nested(60, "null")));
  CHECK(refused([] {
          std::string levels = R"({"$defs": {"65": {"type": "null"})";
          for (int level = 64; level >= 0; --level)
            levels += ", \"" + std::to_string(level) +
                      R"(": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/)" + std::to_string(level + 1) +
                      "\"}}";
          schema(levels + R"(}, "$ref": "#/$defs/0"})");
        }) == "json_schema: every text that follows it nests deeper than 64 levels");
}

TEST_CASE("Every keyword that is not obeyed is refused with its JSON pointer") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties": {"a/b": {"not": {}}}})", "#/properties/a~1b/not: this keyword is not supported"},
      {R"({"if": true})", "#/if: this keyword is not supported"},
      {R"({"type": "string", "format": "date"})", "#/format: this keyword is not supported"},
      {R"({"multipleOf": 2})", "#/multipleOf: this keyword"},
      {R"({"patternProperties": {}})", "#/patternProperties: this"},
      {R"({"propertyNames": {}})", "#/propertyNames: this"},
      {R"({"minProperties": 1})", "#/minProperties: this"},
      {R"({"maxProperties": 1})", "#/maxProperties: this"},
      {R"({"dependentRequired": {}})", "#/dependentRequired: this"},
      {R"({"contains": {}})", "#/contains: this"},
      {R"({"unevaluatedProperties": false})", "#/unevaluatedProperties: this"},
      {R"({"$dynamicRef": "#"})", "#/$dynamicRef: this"},
      {R"({"$anchor": "a"})", "#/$anchor: this"},
      {R"({"nullable": true})", "#/nullable: this"},
      {R"({"items": {"$id": "x"}})", "#/items/$id: this"},
      {R"({"anyOf": [{}, {"typo": 1}]})", "#/anyOf/1/typo: this"},
      {R"({"uniqueItems": true})", "#/uniqueItems: only false is supported"},
      {R"({"items": [{}]})", "#/items: expected a schema, found an array; prefixItems"},
      {R"({"prefixItems": {}})", "#/prefixItems: expected an array of schemas"},
      {R"({"allOf": [{}, {}]})", "#/allOf: supported with a single schema alone, found 2"},
      {R"({"anyOf": [{}], "type": "string"})", "#/type: not supported beside anyOf"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {}}, "minimum": 1})", "#/minimum: not supported beside $ref"},
      {R"({"enum": ["a"], "minLength": 1})", "#/minLength: not supported beside enum"},
      {R"({"enum": ["a"], "const": "a"})", "#/const: not supported beside enum"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "#/oneOf/1: values of it may be valid by an earlier"},
      {R"({"oneOf": [{"type": "string"}, {"pattern": "a"}]})", "#/oneOf/1: values of it may be"},
      {R"({"oneOf": [{"const": 1}, {"anyOf": [{"type": "null"}, {"enum": ["a", 2]}]}]})", "#/oneOf/1: values"},
      {R"({"anyOf": []})", "#/anyOf: expected an array of at least one schema"},
      {R"({"anyOf": {}})", "#/anyOf: expected an array of at least one schema"},
      {R"({"enum": []})", "#/enum: expected an array of at least one value"},
      {R"({"type": "string", "enum": [1]})", "#/enum: none of its values is of the schema's type"},
      {R"({"type": "string", "const": 1})", "#/const: the value is not of the schema's type"},
      {R"({"const": 1e300})", "#/const: numbers of 2^63 or more"},
      {R"({"type": "text"})", "#/type: expected null, boolean, integer"},
      {R"({"type": ["string", 1]})", "#/type/1: expected null, boolean, integer"},
      {R"({"type": []})", "#/type: expected at least one type"},
      {R"({"minLength": -1})", "#/minLength: expected a whole number of 0 or more, found -1"},
      {R"({"minLength": 1.5})", "#/minLength: expected a whole number of 0 or more, found 1.5"},
      {R"({"minLength": 3, "maxLength": 2})", "#/maxLength: expected at least minLength"},
      {R"({"minLength": 3, "pattern": "a"})", "#/pattern: not supported beside minLength or maxLength"},
      {R"x({"pattern": "a(?=b)"})x", "json_schema: #/pattern 'a(?=b)': at byte 2: (?=: look-ahead is not supported"},
      {R"({"pattern": 1})", "#/pattern: expected a string"},
      {R"({"minItems": 2, "maxItems": 1})", "#: expected room for minItems, found 1 items at most and 2 at least"},
      {R"({"prefixItems": [{}], "items": false, "minItems": 2})", "#: expected room for minItems"},
      {R"({"type": "number", "minimum": 0.5})", "#/minimum: of type number, expected a whole number"},
      {R"({"type": "number", "minimum": 123456789012345})",
       "#/minimum: of type number, expected a bound of at most 14"},
      {R"({"type": "integer", "minimum": 1e18})", "#/minimum: beyond the integers of 18 digits"},
      {R"({"exclusiveMinimum": true})", "#/exclusiveMinimum: expected a number, found true"},
      {R"({"properties": {"a": {}}, "required": ["b"]})",
       "#/required: expected each to be one of properties, found 'b'"},
      {R"({"required": ["b"]})", "#/required: expected each to be one of properties"},
      {R"({"required": "b"})", "#/required: expected an array of strings"},
      {R"({"required": [1]})", "#/required/0: expected a string"},
      {R"({"properties": []})", "#/properties: expected an object"},
      {R"({"properties": {"a": 1}})", "#/properties/a: expected a schema, an object or true or false, found 1"},
      {R"({"properties": {"a": {}}, "additionalProperties": {"type": "null"}})",
       "#/additionalProperties: a schema is supported"},
      {R"({"properties": {"a": {}}, "additionalProperties": 1})", "#/additionalProperties: expected a schema"},
      {R"({"type": "object", "additionalProperties": 1})", "#/additionalProperties: expected a schema"},
      {R"({"$ref": "other.json"})", "#/$ref: expected # or #/ and a JSON pointer"},
      {R"({"$ref": "#name"})", "#/$ref: expected # or #/"},
      {R"({"$ref": "#/a%25"})", "#/$ref: expected # or #/"},
      {R"({"$ref": "#/$defs/none"})", "#/$ref: the schema has no '#/$defs/none'"},
      {R"({"$ref": "#/~2"})", "#/$ref: the schema has no '#/~2'"},
      {R"({"$ref": 1})", "#/$ref: expected a string"},
      {R"({"$ref": "#"})", "#: $ref leads in a circle"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "it refers to itself without an object or array between"},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no text follows it"},
      {R"({"minLength": 100000})", "json_schema: it needs more than"},
      {R"({"maxLength": 5000})", "json_schema: its automaton needs more than 32768 states"},
      {"false", "no text follows it"},
      {"1", "#: expected a schema"},
      {"{", "json_schema: not valid JSON at byte"},
      {R"({"a": 1, "a": 2})", "json_schema: the key 'a' occurs twice in one object"},
  };
  for (const auto& [text, wanted] : cases) {
    CAPTURE(text);
    const std::string found = refused([text = text] { schema(text); });
    CAPTURE(found);
    CHECK(found.starts_with("json_schema: "));
    CHECK(found.find(wanted) != found.npos);
  }
}

// ---- what others judged ---------------------------------------------------------------------------------------------

TEST_CASE("Answers that jsonschema and re called valid are taken, and those that they did not are not") {
  const Json golden = read_json(std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/constraints.json");
  REQUIRE(golden["cases"].size() >= 400);
  std::mt19937_64 random(1);
  for (const Json& one : golden["cases"]) {
    const bool is_regex = one.contains("regex");
    const std::string text = is_regex ? one["regex"] : one["schema"];
    CAPTURE(text);
    const auto constraint = is_regex ? regex(text) : schema(text);
    check_texts(*constraint, one["valid"].get<Texts>(), one["invalid"].get<Texts>());
    const auto answer = json_tokens::random_answer(small().tokenizer, constraint, random);
    if (answer) CHECK(takes(*constraint, *answer));
    if (answer && !is_regex) CHECK_NOTHROW(parse_json(*answer, "answer"));
  }
}

}  // namespace constrained

}  // namespace
