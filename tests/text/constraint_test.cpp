// Masks against a plain reading of every token, and what they cost.
#include "ivl/text/constraint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "constraint_checks.hpp"
#include "golden_tokenizers.hpp"

namespace {

namespace constrained {

using namespace ivl;
using json_tokens::check_texts, json_tokens::refused, json_tokens::takes, json_tokens::small;
using json_tokens::Texts;

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

TEST_CASE("A choice takes its texts and nothing else") {
  check_texts(*Constraint::choice(small().tokens, Texts{"red", "re", "gr\u00fcn", ""}), {"red", "re", "gr\u00fcn", ""},
              {"r", "rede", "green", "gr", "gr\u00fc"});
  CHECK(refused([] { Constraint::choice(small().tokens, {}); }) == "choice: expected at least one text, found none");
  CHECK(refused([] { Constraint::choice(small().tokens, Texts{"a\xFF"}); }) ==
        "choice: expected UTF-8, found 'a\\xff'");
}

}  // namespace constrained

}  // namespace
