// The small tokenizer with tokens that reach over the ends of JSON's strings, objects and arrays, and random answers.
#pragma once
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/text/constraint.hpp"
#include "ivl/text/tokenizer.hpp"
#include "small_tokenizer.hpp"

namespace json_tokens {

inline ivl::Tokenizer tokenizer() {
  const std::string space = small_tokenizer::letter(' ');
  const small_tokenizer::Merges merges = {{"{", "\""},
                                          {"\"", ":"},
                                          {"\":", space},
                                          {"\":" + space, "\""},
                                          {",", space},
                                          {"\"", "," + space},
                                          {"\"," + space, "\""},
                                          {"}", "}"},
                                          {"\"", "}"},
                                          {"\"}", "}"},
                                          {"]", "}"},
                                          {"[", "["},
                                          {"[", "{\""},
                                          {"]", "]"},
                                          {"\"", "]"},
                                          {"1", "2"},
                                          {"0", "0"},
                                          {"t", "r"},
                                          {"tr", "u"},
                                          {"tru", "e"},
                                          {"n", "u"},
                                          {"nu", "ll"},
                                          {"a", "b"},
                                          {"ab", "c"},
                                          {"\\", "\""},
                                          {"\\", "u"},
                                          {"{", "}"},
                                          {"[", "]"}};
  small_tokenizer::Merges all = {{"l", "l"}};
  all.insert(all.end(), merges.begin(), merges.end());
  return ivl::Tokenizer::from_json(small_tokenizer::description(all).dump());
}

/// The id of <|special|>, which ends answers.
inline int stop_id(const ivl::Tokenizer& tokenizer) { return *tokenizer.id_of("<|special|>"); }

/// An answer of random tokens among those that `constraint` lets follow; none where it has no end within 3000. Behind
/// 300 tokens it takes what closes, where it may.
inline std::optional<std::string> random_answer(const ivl::Tokenizer& tokenizer,
                                                const std::shared_ptr<const ivl::Constraint>& constraint,
                                                std::mt19937_64& random) {
  ivl::ConstraintState state(constraint, {stop_id(tokenizer)});
  std::vector<int> ids;
  std::vector<float> logits(std::size_t(tokenizer.size()) + 7);  // an embedding has more rows
  while (ids.size() < 3000) {
    logits.assign(logits.size(), 0);
    state.mask(logits);
    std::vector<int> allowed;
    for (std::size_t id = 0; id < logits.size(); ++id)
      if (!std::isinf(logits[id])) allowed.push_back(int(id));
    if (allowed.empty()) throw std::logic_error("no token may follow " + tokenizer.decode(ids));
    int id = allowed[random() % allowed.size()];
    if (ids.size() > 300) {
      for (const std::string_view closing : {"\"", "]", "}", "<|special|>"})
        if (const int close = *tokenizer.id_of(closing); !std::isinf(logits[std::size_t(close)])) id = close;
    }
    state.accept(id);
    if (id == stop_id(tokenizer)) {
      std::string text;
      for (const int each : ids) text += tokenizer.bytes_of(each);
      return text;
    }
    ids.push_back(id);
  }
  return std::nullopt;
}

/// Whether an answer may be `text`, byte by byte.
inline bool takes(const ivl::Constraint& constraint, std::string_view text) {
  std::vector<ivl::ByteCursor::Entry> entries(ivl::ByteAutomaton::most_entries);
  ivl::ByteCursor cursor{.state = constraint.automaton().start()};
  int ended = 0;
  for (const char byte : text)
    if (!cursor.read(constraint.automaton(), std::uint8_t(byte), entries, cursor.top + 1, ended)) return false;
  return constraint.automaton().accepting(cursor.state);
}

}  // namespace json_tokens
