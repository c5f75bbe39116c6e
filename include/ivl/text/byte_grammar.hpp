// A grammar of texts as states that read byte after byte: what regular expressions and JSON schemas are compiled to,
// before it is made deterministic (byte_automaton.hpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/text/code_points.hpp"

namespace ivl {

/// States, and edges that read a byte, nothing, or the text of a whole rule. Rules are what nests: a rule begins behind
/// the byte that opens it and ends with the byte that closes it. All readings of one text open and close rules at the
/// same bytes, which is what lets byte_automaton.hpp keep a single stack: so it is with the brackets of JSON's
/// objects and arrays and the quotes of its strings, as long as every one of them is a rule, or none.
class ByteGrammar {
 public:
  static constexpr int nothing = -1;

  struct Edge {
    ByteRange bytes;
    bool empty;  ///< reads nothing
    int to;
    int rule;  ///< that begins behind this byte; `to` is where it comes back to. Or nothing
    int next;  ///< edge of the same state, or nothing
  };

  struct Rule {
    int start, end;
  };

  /// `what` is named in errors: "regex".
  explicit ByteGrammar(const char* what) : what_(what), start_(add_state()), end_(add_state()) {}

  const char* what() const { return what_; }
  /// Of the whole text.
  int start() const { return start_; }
  int end() const { return end_; }

  /// Throws RequestError where there are too many.
  int add_state() {
    if (first_edge_.size() == most_states) refuse_size();
    first_edge_.push_back(nothing);
    ends_.push_back(nothing);
    return int(first_edge_.size()) - 1;
  }

  int add_rule() {
    const int start = add_state(), end = add_state();
    ends_[std::size_t(end)] = int(rules_.size());
    rules_.push_back({start, end});
    return int(rules_.size()) - 1;
  }

  void read(int from, ByteRange bytes, int to) { add_edge(from, {bytes, false, to, nothing, nothing}); }
  void read(int from, char byte, int to) { read(from, ByteRange{std::uint8_t(byte), std::uint8_t(byte)}, to); }
  void skip(int from, int to) { add_edge(from, {{0, 0}, true, to, nothing, nothing}); }

  void call(int from, char opening, int rule, int to) {
    add_edge(from, {{std::uint8_t(opening), std::uint8_t(opening)}, false, to, rule, nothing});
  }

  /// Returns the state behind the text.
  int read_text(int from, std::string_view text) {
    for (const char byte : text) {
      const int to = add_state();
      read(from, byte, to);
      from = to;
    }
    return from;
  }

  void read_text(int from, std::string_view text, int to) { skip(read_text(from, text), to); }

  void read_character(int from, const CodePoints& set, int to) {
    for (const CodePoints::Range& range : set.ranges()) {
      each_utf8_sequence(range.first, range.last, [&](const std::vector<ByteRange>& sequence) {
        int at = from;
        for (std::size_t i = 0; i < sequence.size(); ++i) {
          const int next = i + 1 == sequence.size() ? to : add_state();
          read(at, sequence[i], next);
          at = next;
        }
      });
    }
  }

  int states() const { return int(first_edge_.size()); }
  const std::vector<Rule>& rules() const { return rules_; }
  int first_edge(int state) const { return first_edge_[std::size_t(state)]; }
  const Edge& edge(int index) const { return edges_[std::size_t(index)]; }
  /// The rule that has ended where this state is reached, or nothing.
  int ended_rule(int state) const { return ends_[std::size_t(state)]; }

 private:
  static constexpr std::size_t most_states = 1 << 18, most_edges = 1 << 20;

  [[noreturn]] void refuse_size() const {
    fail<RequestError>(what_, ": it needs more than ", most_states, " states or ", most_edges,
                       " edges of its grammar; fewer or shorter choices, counts, lengths or items need less");
  }

  void add_edge(int from, Edge edge) {
    if (edges_.size() == most_edges) refuse_size();
    edge.next = first_edge_[std::size_t(from)];
    first_edge_[std::size_t(from)] = int(edges_.size());
    edges_.push_back(edge);
  }

  const char* what_;
  std::vector<int> first_edge_, ends_;
  std::vector<Edge> edges_;
  std::vector<Rule> rules_;
  int start_, end_;
};

}  // namespace ivl
