// The bodies of constraint.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/text/byte_regex.hpp"
#include "ivl/text/constraint.hpp"
#include "ivl/text/json_schema.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

IVL_INLINE std::shared_ptr<const Constraint> Constraint::choice(std::shared_ptr<const TokenTrie> tokens,
                                                                std::span<const std::string> texts) {
  if (texts.empty()) fail<RequestError>("choice: expected at least one text, found none");
  ByteGrammar grammar("choice");
  for (const std::string& text : texts) {
    if (!is_utf8(text)) fail<RequestError>("choice: expected UTF-8, found ", in_quotes(text));
    grammar.read_text(grammar.start(), text, grammar.end());
  }
  return std::make_shared<const Constraint>(std::move(tokens), grammar);
}

IVL_INLINE std::shared_ptr<const Constraint> Constraint::regex(std::shared_ptr<const TokenTrie> tokens,
                                                               std::string_view pattern) {
  ByteGrammar grammar("regex");
  ByteRegex(pattern, "regex").add_whole(grammar, grammar.start(), grammar.end());
  return std::make_shared<const Constraint>(std::move(tokens), grammar);
}

IVL_INLINE std::shared_ptr<const Constraint> Constraint::json_schema(std::shared_ptr<const TokenTrie> tokens,
                                                                     std::string_view schema) {
  return std::make_shared<const Constraint>(std::move(tokens), json_schema_grammar(schema));
}

IVL_INLINE std::shared_ptr<const Constraint> Constraint::json_object(std::shared_ptr<const TokenTrie> tokens) {
  return json_schema(std::move(tokens), R"({"type": "object"})");
}

IVL_INLINE Constraint::Constraint(std::shared_ptr<const TokenTrie> tokens, const ByteGrammar& grammar)
    : tokens_(std::move(tokens)), automaton_(grammar), known_(std::size_t(automaton_.states())) {
  if (tokens_->drops_first_space() && automaton_.move(automaton_.start(), ' ').kind != ByteAutomaton::Move::Kind::none)
    fail<RequestError>(grammar.what(), ": a text may begin with a space, which this tokenizer leaves out of answers");
}

IVL_INLINE const Constraint::Tokens* Constraint::known(int state) const {
  const std::lock_guard lock(mutex_);
  return known_[std::size_t(state)].get();
}

IVL_INLINE void Constraint::keep(int state, const Tokens& tokens) const {
  constexpr int most_known = 512;  // of 20 kB each, with 151 thousand tokens
  const std::lock_guard lock(mutex_);
  if (number_known_ == most_known || known_[std::size_t(state)]) return;
  known_[std::size_t(state)] = std::make_unique<const Tokens>(tokens);
  ++number_known_;
}

IVL_INLINE ConstraintState::ConstraintState(std::shared_ptr<const Constraint> constraint, std::vector<int> stop_ids)
    : constraint_(std::move(constraint)),
      stop_ids_(std::move(stop_ids)),
      entries_(std::size_t(ByteAutomaton::most_entries + constraint_->tokens().longest_bytes())),
      path_(std::size_t(constraint_->tokens().longest_bytes()) + 1) {
  if (stop_ids_.empty())
    fail<RequestError>("constraint: expected a stop token to end the answer with, found none, or ignore_stop_ids");
  tokens_.allowed.resize(std::size_t(constraint_->tokens().ids() + 63) / 64);
  cursor_.state = constraint_->automaton().start();
}

IVL_INLINE void ConstraintState::mask(std::span<float> logits) {
  constexpr float forbidden = -std::numeric_limits<float>::infinity();
  find_allowed();
  std::vector<std::uint64_t>& allowed = tokens_.allowed;
  for (const int id : stop_ids_) {  // one that has a text too ends the answer all the same
    if (id < 0 || std::size_t(id) / 64 >= allowed.size()) continue;
    const std::uint64_t bit = std::uint64_t(1) << id % 64;
    std::uint64_t& word = allowed[std::size_t(id) / 64];
    word = may_end() ? word | bit : word & ~bit;
  }
  for (std::size_t word = 0; word * 64 < logits.size(); ++word) {
    const std::uint64_t bits = word < allowed.size() ? allowed[word] : 0;
    if (bits == ~std::uint64_t(0)) continue;
    const auto of_word = logits.subspan(word * 64, std::min<std::size_t>(64, logits.size() - word * 64));
    if (bits == 0)
      std::ranges::fill(of_word, forbidden);
    else
      for (std::size_t bit = 0; bit < of_word.size(); ++bit)
        if (!(bits >> bit & 1)) of_word[bit] = forbidden;
  }
}

IVL_INLINE void ConstraintState::accept(int id) {
  if (std::ranges::find(stop_ids_, id) != stop_ids_.end()) {
    if (may_end()) return;
    fail<RequestError>("constraint: token ", id, " ends the answer where its text may not end");
  }
  const std::string_view bytes = constraint_->tokens().bytes_of(id);
  ByteCursor after = cursor_;
  int ended = 0;
  bool follows = !bytes.empty();
  // What is open lies in entries 0 to top, each above the one before.
  for (std::size_t at = 0; follows && at < bytes.size(); ++at)
    follows = after.read(constraint_->automaton(), std::uint8_t(bytes[at]), entries_, after.top + 1, ended);
  if (!follows) fail<RequestError>("constraint: token ", id, " may not follow here");
  cursor_ = after;
}

template <class OnExit>
void ConstraintState::walk(std::int32_t first, std::int32_t last, const OnExit& on_exit) {
  const ByteAutomaton& automaton = constraint_->automaton();
  const auto nodes = constraint_->tokens().nodes();
  const auto tokens = constraint_->tokens().tokens();
  int ended = 0;
  while (first < last) {
    ++visited_;
    const TokenTrie::Node& node = nodes[std::size_t(first)];
    ByteCursor& cursor = path_[node.depth];
    cursor = path_[node.depth - 1u];
    const int slot = ByteAutomaton::most_entries + node.depth - 1;
    if (!cursor.read(automaton, node.byte, entries_, slot, ended)) {
      first = node.end;
      continue;
    }
    for (std::int32_t at = node.first_token; at < node.last_token; ++at) {
      const auto id = std::size_t(tokens[std::size_t(at)]);
      tokens_.allowed[id / 64] |= std::uint64_t(1) << id % 64;
    }
    if (cursor.state == ByteAutomaton::dead) {
      if (first + 1 < node.end) on_exit(first, ended);
      first = node.end;
    } else {
      ++first;
    }
  }
}

IVL_INLINE void ConstraintState::find_allowed() {
  const ByteAutomaton& automaton = constraint_->automaton();
  const auto nodes = constraint_->tokens().nodes();
  const auto all = std::int32_t(nodes.size());
  visited_ = 0;
  std::ranges::fill(tokens_.allowed, 0);
  // Where no token can come near the limit of depth, what may follow does not depend on how deep it is.
  const bool shallow =
      cursor_.depth + constraint_->tokens().most_openings() + automaton.most_need() <= ByteAutomaton::most_nested;
  if (!shallow) {
    path_[0] = cursor_;
    return walk(0, all, [](std::int32_t, int) {});
  }
  const Constraint::Tokens* known = constraint_->known(cursor_.state);
  if (known) {
    std::ranges::copy(known->allowed, tokens_.allowed.begin());
  } else {
    constexpr std::int64_t cheap = 1000;  // nodes: about 10 us
    tokens_.exits.clear();
    path_[0] = {.state = cursor_.state};
    walk(0, all, [this](std::int32_t node, int ended) { tokens_.exits.push_back({node, ended}); });
    if (visited_ > cheap) constraint_->keep(cursor_.state, tokens_);
  }
  for (const Constraint::Exit& exit : known ? known->exits : tokens_.exits) {
    const TokenTrie::Node& node = nodes[std::size_t(exit.node)];
    path_[node.depth] = cursor_;
    path_[node.depth].close(automaton, entries_, exit.ended);
    walk(exit.node + 1, node.end, [](std::int32_t, int) {});
  }
}

}  // namespace ivl
