// A grammar made deterministic: reads a text byte by byte, and never stands where no text goes on.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/byte_grammar.hpp"

namespace ivl {

/// States of which each stands for all readings of a text so far (Rabin and Scott's subsets), and a stack whose entries
/// each stand for all rules that a byte opened and where each comes back to (as a visibly push-down automaton is made
/// deterministic: Alur and Madhusudan 2004). Both are finite, so all of them are found when it is made. Const
/// afterwards; threads may share it.
class ByteAutomaton {
 public:
  /// So deep a text may nest: objects and arrays of JSON.
  static constexpr int most_nested = 64;
  /// Entries of a stack: a string may stand in the innermost object.
  static constexpr int most_entries = most_nested + 1;
  static constexpr int dead = -1;

  /// Throws RequestError where no text follows the grammar, where each nests too deep, and where more than 32768
  /// states or too much work are needed: the same for the same grammar, however fast the machine is.
  explicit ByteAutomaton(const ByteGrammar& grammar);

  /// What reading a byte does.
  struct Move {
    enum class Kind : std::uint8_t { none, go, open, close };
    Kind kind;
    int index;  ///< of the state, of the opening, of the set of rules that end
  };

  /// What an opening byte puts on the stack.
  struct Opening {
    int state;             ///< behind the byte
    std::uint8_t depth;    ///< that it adds: a string adds none
    std::uint8_t promise;  ///< depth below it that the text behind its end may need at least
    int first_return, last_return;
  };

  int states() const { return int(accepting_.size()); }
  int start() const { return start_; }
  /// Whether the text may end here; the stack is empty then.
  bool accepting(int state) const { return accepting_[std::size_t(state)]; }
  /// The depth that a text needs at least to go on from here to its end, above what is open.
  int need(int state) const { return need_[std::size_t(state)]; }
  /// The largest depth that any text commits itself to without a choice.
  int most_need() const { return most_need_; }

  Move move(int state, std::uint8_t byte) const {
    return moves_[std::size_t(state) * std::size_t(classes_) + class_of_[byte]];
  }
  const Opening& opening(int index) const { return openings_[std::size_t(index)]; }
  /// The state behind an opening's end, where the rules of set `ended` end.
  int state_behind(const Opening& opening, int ended) const {
    int at = opening.first_return;
    while (at < opening.last_return && returns_[std::size_t(at)].ended != ended) ++at;
    return at < opening.last_return ? returns_[std::size_t(at)].state : dead;
  }

 private:
  friend class ByteAutomatonMaker;
  struct Return {
    int ended, state;
  };

  std::array<std::uint8_t, 256> class_of_{};  // bytes that no state tells apart
  int classes_ = 0;
  int start_ = 0, most_need_ = 0;
  std::vector<Move> moves_;  // [states, classes]
  std::vector<bool> accepting_;
  std::vector<std::uint8_t> need_;
  std::vector<Opening> openings_;
  std::vector<Return> returns_;
};

/// A place in a text that an automaton reads: a state and a stack. Entries of stacks lie in a caller's array and are
/// linked, so that many places share what lies below.
struct ByteCursor {
  struct Entry {
    int opening;
    int below;  ///< index of the entry below; -1: nothing
  };

  int state = 0;
  int top = -1;  ///< index of the innermost entry
  int depth = 0;

  /// Reads a byte; an opening one writes entries[slot]. Returns false, changing nothing but that, where no text goes on
  /// so. A byte that closes what was opened in front of the first entry ends there: `ended` gets the set of rules, and
  /// the state becomes `dead`.
  bool read(const ByteAutomaton& automaton, std::uint8_t byte, std::span<Entry> entries, int slot, int& ended) {
    using Kind = ByteAutomaton::Move::Kind;
    const ByteAutomaton::Move move = automaton.move(state, byte);
    switch (move.kind) {
      case Kind::none:
        return false;
      case Kind::go:
        if (depth + automaton.need(move.index) > ByteAutomaton::most_nested) return false;
        state = move.index;
        return true;
      case Kind::open: {
        const ByteAutomaton::Opening& opening = automaton.opening(move.index);
        if (depth + opening.depth + automaton.need(opening.state) > ByteAutomaton::most_nested ||
            depth + opening.promise > ByteAutomaton::most_nested)
          return false;
        entries[std::size_t(slot)] = {move.index, top};
        state = opening.state;
        top = slot;
        depth += opening.depth;
        return true;
      }
      case Kind::close:
        ended = move.index;
        close(automaton, entries, ended);
        return true;
    }
    return false;
  }

  /// Ends the innermost rules, of set `ended`.
  void close(const ByteAutomaton& automaton, std::span<const Entry> entries, int ended) {
    if (top < 0) {
      state = ByteAutomaton::dead;
      return;
    }
    const Entry& entry = entries[std::size_t(top)];
    const ByteAutomaton::Opening& opening = automaton.opening(entry.opening);
    state = automaton.state_behind(opening, ended);
    depth -= opening.depth;
    top = entry.below;
  }
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/byte_automaton.ipp"
#endif
