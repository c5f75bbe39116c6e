// Answers that follow a rule: one of several texts, a regular expression, a JSON schema.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/byte_automaton.hpp"
#include "ivl/text/token_trie.hpp"

namespace ivl {

/// What an answer's text, from its first byte to its last, has to be. An answer that reaches its greatest length or a
/// stop string before is cut, and then no more than the beginning of such a text.
/// What tokens may follow is found as it is asked for and kept; but for that it never changes. Threads may share it.
class Constraint {
 public:
  /// One of these texts. Throws RequestError for none, and for one that is not UTF-8.
  static std::shared_ptr<const Constraint> choice(std::shared_ptr<const TokenTrie> tokens,
                                                  std::span<const std::string> texts);

  /// A text that matches as a whole (byte_regex.hpp says what is read). Throws RequestError.
  static std::shared_ptr<const Constraint> regex(std::shared_ptr<const TokenTrie> tokens, std::string_view pattern);

  /// JSON that is valid by a schema (json_schema.hpp says what is read). Throws RequestError.
  static std::shared_ptr<const Constraint> json_schema(std::shared_ptr<const TokenTrie> tokens,
                                                       std::string_view schema);

  /// Any JSON object.
  static std::shared_ptr<const Constraint> json_object(std::shared_ptr<const TokenTrie> tokens);

  /// Throws RequestError where no text follows the grammar, or the tokenizer cannot write one.
  Constraint(std::shared_ptr<const TokenTrie> tokens, const ByteGrammar& grammar);

  const TokenTrie& tokens() const { return *tokens_; }
  const ByteAutomaton& automaton() const { return automaton_; }

 private:
  friend class ConstraintState;

  static constexpr int cheap_nodes = 1000;  // of a walk that is not worth keeping: about 10 us

  /// What may follow in a state, whatever is open around it.
  struct Exit {
    std::int32_t node;   ///< of the tree, where a token ends what was open, and does not end itself
    std::int32_t ended;  ///< which rules
  };
  struct Tokens {
    std::vector<std::uint64_t> allowed;  ///< a bit for each id
    std::vector<Exit> exits;
  };

  /// Null where it was not found yet.
  const Tokens* known(int state) const;
  /// Keeps it, unless there are many already.
  void keep(int state, const Tokens& tokens) const;

  std::shared_ptr<const TokenTrie> tokens_;
  ByteAutomaton automaton_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<const Tokens>> known_;  // [state]
  mutable int number_known_ = 0;
};

/// Where one answer is. Allocates when it is made, and in the first `mask` of a state that many tokens may follow.
class ConstraintState {
 public:
  /// `stop_ids` end the answer. Throws RequestError where there is none.
  ConstraintState(std::shared_ptr<const Constraint> constraint, std::vector<int> stop_ids);

  /// Sets the logits of all tokens that may not follow to -infinity: those of stop ids too, but where the answer may
  /// end.
  void mask(std::span<float> logits);

  /// The token that was chosen; a stop id changes nothing. Throws RequestError for one that may not follow: the answer
  /// is over then.
  void accept(int id);

  /// Whether the answer may end here.
  bool may_end() const { return constraint_->automaton().accepting(cursor_.state); }

  /// How many nodes of the tree the last `mask` looked at: its cost, apart from a pass over the logits.
  std::int64_t visited() const { return visited_; }

 private:
  void find_allowed();
  /// Looks at the nodes [first, last), children of what `path_[depth]` has read.
  template <class OnExit>
  void walk(std::int32_t first, std::int32_t last, const OnExit& on_exit);

  std::shared_ptr<const Constraint> constraint_;
  std::vector<int> stop_ids_;
  ByteCursor cursor_;
  std::vector<ByteCursor::Entry> entries_;  // the answer's, then one for each byte of a token
  std::vector<ByteCursor> path_;            // [bytes of a token]
  Constraint::Tokens tokens_;               // what may follow
  std::int64_t visited_ = 0;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/constraint.ipp"
#endif
