// The bodies of byte_automaton.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <limits>
#include <map>

#include "ivl/core/error.hpp"
#include "ivl/text/byte_automaton.hpp"

namespace ivl {

/// Builds an automaton. A set of the grammar's states is sorted, and holds what can be reached without a byte.
class ByteAutomatonMaker {
 public:
  ByteAutomatonMaker(const ByteGrammar& grammar, ByteAutomaton& automaton) : grammar_(grammar), made_(automaton) {}

  void make() {
    find_live();
    if (!live_[std::size_t(grammar_.start())])
      fail<RequestError>(grammar_.what(), ": no text follows it: what it asks for excludes each other");
    find_classes();
    made_.start_ = state_of({grammar_.start()});
    explore();
    find_needs();
    lay_out_returns();
  }

 private:
  using Move = ByteAutomaton::Move;
  using Set = std::vector<int>;

  static constexpr int most_states = 1 << 15;
  static constexpr int endless = std::numeric_limits<std::uint8_t>::max();

  /// Each unit is one edge looked at: about 10 ns.
  void work(std::size_t units) {
    constexpr std::size_t most = 100'000'000;
    if ((work_ += units) > most)
      fail<RequestError>(grammar_.what(), ": its automaton takes more than ", most,
                         " steps to make; fewer alternatives that begin alike need less");
  }

  // ---- the grammar --------------------------------------------------------------------------------------------------
  /// A state is live where some text leads from it to the end of its rule, or of all.
  void find_live() {
    live_.assign(std::size_t(grammar_.states()), false);
    live_[std::size_t(grammar_.end())] = true;
    for (const ByteGrammar::Rule& rule : grammar_.rules()) live_[std::size_t(rule.end)] = true;
    for (bool changed = true; changed;) {
      changed = false;
      for (int state = grammar_.states() - 1; state >= 0; --state) {  // most edges lead to later states
        if (live_[std::size_t(state)]) continue;
        for_each_edge(state, [&](const ByteGrammar::Edge& edge) {
          if (is_live(edge)) live_[std::size_t(state)] = changed = true;
        });
      }
    }
  }

  bool is_live(const ByteGrammar::Edge& edge) const {
    return live_[std::size_t(edge.to)] &&
           (edge.rule < 0 || live_[std::size_t(grammar_.rules()[std::size_t(edge.rule)].start)]);
  }

  template <class Action>
  void for_each_edge(int state, const Action& action) {
    std::size_t edges = 1;
    for (int at = grammar_.first_edge(state); at >= 0; at = grammar_.edge(at).next, ++edges) action(grammar_.edge(at));
    work(edges);
  }

  void find_classes() {
    std::array<bool, 257> begins{};
    begins[0] = true;
    for (int state = 0; state < grammar_.states(); ++state)
      for_each_edge(state, [&](const ByteGrammar::Edge& edge) {
        if (edge.empty) return;
        begins[edge.bytes.first] = true;
        begins[edge.bytes.last + 1u] = true;
      });
    int number = -1;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      if (begins[byte]) {
        ++number;
        first_of_class_.push_back(std::uint8_t(byte));
      }
      made_.class_of_[byte] = std::uint8_t(number);
    }
    made_.classes_ = number + 1;
  }

  // ---- sets ---------------------------------------------------------------------------------------------------------
  /// Of states that are live, with those that follow without a byte; only those that read or end something stay.
  int state_of(Set set) {
    Set reached, kept;
    for (const int state : set) reach(state, reached);
    while (!reached.empty()) {
      const int state = reached.back();
      reached.pop_back();
      bool reads = state == grammar_.end() || grammar_.ended_rule(state) >= 0;
      for_each_edge(state, [&](const ByteGrammar::Edge& edge) {
        if (edge.empty)
          reach(edge.to, reached);
        else
          reads = true;
      });
      if (reads) kept.push_back(state);
    }
    ++mark_;
    std::ranges::sort(kept);
    const int id = sets_.id_of(std::move(kept));
    if (id < made_.states()) return id;
    if (id == most_states)
      fail<RequestError>(grammar_.what(), ": its automaton needs more than ", most_states,
                         " states; fewer or shorter choices, counts, lengths or items need less");
    const Set& key = *sets_.keys.back();
    made_.accepting_.push_back(std::ranges::binary_search(key, grammar_.end()));
    work(key.size());
    return id;
  }

  void reach(int state, Set& reached) {
    marks_.resize(std::size_t(grammar_.states()), 0);
    if (!live_[std::size_t(state)] || marks_[std::size_t(state)] == mark_) return;
    marks_[std::size_t(state)] = mark_;
    reached.push_back(state);
  }

  /// Keys by their numbers, and the way back.
  template <class Key>
  struct Numbered {
    std::map<Key, int> ids = {};
    std::vector<const Key*> keys = {};

    int id_of(Key key) {
      const auto [at, is_new] = ids.emplace(std::move(key), int(ids.size()));
      if (is_new) keys.push_back(&at->first);
      return at->second;
    }
  };

  /// What reading a byte of class `of` does in a state.
  Move find_move(int state, int of) {
    const std::uint8_t byte = first_of_class_[std::size_t(of)];
    Set targets, ended;
    std::vector<std::pair<int, int>> opened;  // rules, and the states behind them
    for (const int from : *sets_.keys[std::size_t(state)])
      for_each_edge(from, [&](const ByteGrammar::Edge& edge) {
        if (edge.empty || byte < edge.bytes.first || byte > edge.bytes.last || !is_live(edge)) return;
        if (edge.rule >= 0)
          opened.emplace_back(edge.rule, edge.to);
        else if (const int rule = grammar_.ended_rule(edge.to); rule >= 0)
          ended.push_back(rule);
        else
          targets.push_back(edge.to);
      });
    assert(int(!targets.empty()) + int(!opened.empty()) + int(!ended.empty()) <= 1);  // as ByteGrammar promises
    if (!targets.empty()) return {Move::Kind::go, state_of(std::move(targets))};
    if (!opened.empty()) return {Move::Kind::open, opening_of(std::move(opened), byte)};
    if (ended.empty()) return {Move::Kind::none, 0};
    sort_unique(ended);
    return {Move::Kind::close, ended_.id_of(std::move(ended))};
  }

  template <class List>
  static void sort_unique(List& list) {
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }

  int opening_of(std::vector<std::pair<int, int>> rules, std::uint8_t byte) {
    sort_unique(rules);
    Set starts;
    for (const auto& [rule, behind] : rules) starts.push_back(grammar_.rules()[std::size_t(rule)].start);
    const int id = opened_.id_of(std::move(rules));
    if (id < int(made_.openings_.size())) return id;
    const int state = state_of(std::move(starts));
    made_.openings_.push_back({state, std::uint8_t(byte == '"' ? 0 : 1), 0, 0, 0});
    returns_.emplace_back();
    return id;
  }

  int state_behind(int opening, int ended) {
    const auto [at, is_new] = returns_[std::size_t(opening)].emplace(ended, 0);
    if (!is_new) return at->second;
    Set behind;
    for (const auto& [rule, state] : *opened_.keys[std::size_t(opening)])
      if (std::ranges::binary_search(*ended_.keys[std::size_t(ended)], rule)) behind.push_back(state);
    return at->second = state_of(std::move(behind));
  }

  // ---- what can be reached ------------------------------------------------------------------------------------------
  /// What happens between an opening byte and its end, which depends on the state behind that byte alone.
  struct Level {
    std::vector<bool> holds = {};                   // states
    Set ends = {};                                  // sets of rules that may end it
    std::vector<std::pair<int, int>> openers = {};  // levels and openings that lead here
  };

  void explore() {
    level_at(made_.start_);
    while (!to_do_.empty()) {
      const auto [level, state] = to_do_.back();
      to_do_.pop_back();
      for (int of = 0; of < made_.classes_; ++of) {
        const Move move = known_move(state, of);
        if (move.kind == Move::Kind::go) enter(level, move.index);
        if (move.kind == Move::Kind::open) open(level, move.index);
        if (move.kind == Move::Kind::close) close(level, move.index);
      }
    }
  }

  Move known_move(int state, int of) {
    auto& moves = made_.moves_;
    const auto width = std::size_t(made_.classes_);
    for (std::size_t known = moves.size() / width; known <= std::size_t(state); ++known) {
      moves.resize((known + 1) * width, {Move::Kind::none, 0});
      for (std::size_t each = 0; each < width; ++each) {
        const Move found = find_move(int(known), int(each));
        moves[known * width + each] = found;
      }
    }
    return moves[std::size_t(state) * width + std::size_t(of)];
  }

  int level_at(int state) {
    const auto [at, is_new] = levels_of_.emplace(state, int(levels_.size()));
    if (is_new) {
      levels_.emplace_back();
      enter(at->second, state);
    }
    return at->second;
  }

  void enter(int level, int state) {
    std::vector<bool>& holds = levels_[std::size_t(level)].holds;
    if (holds.size() <= std::size_t(state)) holds.resize(std::size_t(state) + 1);
    if (holds[std::size_t(state)]) return;
    holds[std::size_t(state)] = true;
    to_do_.emplace_back(level, state);
    work(std::size_t(made_.classes_));
  }

  void open(int level, int opening) {
    const int inner = level_at(made_.openings_[std::size_t(opening)].state);
    auto& openers = levels_[std::size_t(inner)].openers;
    if (std::ranges::find(openers, std::pair(level, opening)) != openers.end()) return;
    openers.emplace_back(level, opening);
    const Set ends = levels_[std::size_t(inner)].ends;
    for (const int ended : ends) enter(level, state_behind(opening, ended));
  }

  void close(int level, int ended) {
    Set& ends = levels_[std::size_t(level)].ends;
    if (std::ranges::find(ends, ended) != ends.end()) return;
    ends.push_back(ended);
    const auto openers = levels_[std::size_t(level)].openers;
    for (const auto& [outer, opening] : openers) enter(outer, state_behind(opening, ended));
  }

  // ---- depth --------------------------------------------------------------------------------------------------------
  /// need: the least over the bytes that may follow of the largest that then may have to be gone to. A text that keeps
  /// to it at every byte always finds an end that is no deeper than the limit.
  void find_needs() {
    made_.need_.assign(std::size_t(made_.states()), endless);
    const auto deeper = [](int need, int by) { return std::uint8_t(std::min(endless, need + by)); };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < made_.openings_.size(); ++i) {
        int promise = 0;
        for (const auto& [ended, state] : returns_[i]) promise = std::max(promise, made_.need(state));
        made_.openings_[i].promise = std::uint8_t(promise);
      }
      for (int state = made_.states() - 1; state >= 0; --state) {
        work(std::size_t(made_.classes_));
        int need = made_.accepting(state) ? 0 : endless;
        for (int of = 0; of < made_.classes_; ++of) {
          const Move move = known_move(state, of);
          if (move.kind == Move::Kind::close) need = 0;
          if (move.kind == Move::Kind::go) need = std::min(need, made_.need(move.index));
          if (move.kind != Move::Kind::open) continue;
          const ByteAutomaton::Opening& opening = made_.opening(move.index);
          const int inside = deeper(made_.need(opening.state), opening.depth);
          need = std::min(need, std::max<int>(inside, opening.promise));
        }
        if (need == made_.need(state)) continue;
        made_.need_[std::size_t(state)] = std::uint8_t(need);
        changed = true;
      }
    }
    if (made_.need(made_.start_) > ByteAutomaton::most_nested)
      fail<RequestError>(grammar_.what(), ": every text that follows it nests deeper than ", ByteAutomaton::most_nested,
                         " levels");
    for (const std::uint8_t need : made_.need_)
      if (need != endless) made_.most_need_ = std::max<int>(made_.most_need_, need);
  }

  void lay_out_returns() {
    for (std::size_t i = 0; i < made_.openings_.size(); ++i) {
      made_.openings_[i].first_return = int(made_.returns_.size());
      for (const auto& [ended, state] : returns_[i]) made_.returns_.push_back({ended, state});
      made_.openings_[i].last_return = int(made_.returns_.size());
    }
  }

  const ByteGrammar& grammar_;
  ByteAutomaton& made_;
  std::size_t work_ = 0;
  std::vector<bool> live_;
  std::vector<std::uint8_t> first_of_class_;
  std::vector<int> marks_;
  int mark_ = 1;
  Numbered<Set> sets_, ended_;
  Numbered<std::vector<std::pair<int, int>>> opened_;
  std::vector<std::map<int, int>> returns_;  // [opening]: set of ended rules to state behind
  std::map<int, int> levels_of_;             // of the state behind the opening byte
  std::vector<Level> levels_;
  std::vector<std::pair<int, int>> to_do_;
};

IVL_INLINE ByteAutomaton::ByteAutomaton(const ByteGrammar& grammar) { ByteAutomatonMaker(grammar, *this).make(); }

}  // namespace ivl
