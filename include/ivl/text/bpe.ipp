// The bodies of bpe.hpp.
#pragma once
#include <algorithm>
#include <bit>
#include <queue>
#include <string>

#include "ivl/core/error.hpp"
#include "ivl/text/bpe.hpp"

namespace ivl {

IVL_INLINE Bpe::Bpe(Vocabulary vocabulary, const std::array<int, 256>& byte_ids, std::span<const Merge> merges)
    : vocabulary_(std::move(vocabulary)), byte_ids_(byte_ids), drops_bytes_(std::ranges::min(byte_ids) < 0) {
  pairs_.resize(std::bit_ceil(merges.size() * 2 + 1));
  // Of a pair listed twice the last counts, as in the reference.
  for (const Merge& merge : merges)
    slot_of(key_of(merge.left, merge.right)) = {key_of(merge.left, merge.right), merge.rank, merge.into};
}

IVL_INLINE void Bpe::prepare_words(std::span<const Merge> merges, bool ignore_merges) {
  // A word that is a token is nearly always what BPE makes of it, and then one look-up replaces all the merging.
  whole_.assign(std::size_t(vocabulary_.size()), ignore_merges);
  if (ignore_merges) return;
  for (std::vector<int> ids; const Merge& merge : merges) {
    if (whole_[std::size_t(merge.into)]) continue;
    ids.clear();
    merge_bytes(vocabulary_.bytes_of(merge.into), ids);
    whole_[std::size_t(merge.into)] = ids.size() == 1 && ids[0] == merge.into;
  }
  for (const int id : byte_ids_)
    if (id >= 0) whole_[std::size_t(id)] = true;
}

IVL_INLINE const Bpe::Pair& Bpe::slot_of(std::uint64_t key) const {
  const std::uint64_t hash = (key ^ (key >> 32) * 0xD6E8FEB86659FD93u) * 0x9E3779B97F4A7C15u;
  std::size_t at = (hash >> 32) & (pairs_.size() - 1);
  while (pairs_[at].key != key && pairs_[at].key != no_key) at = (at + 1) & (pairs_.size() - 1);
  return pairs_[at];
}

IVL_INLINE void Bpe::merge_bytes(std::string_view word, std::vector<int>& ids) const {
  if (drops_bytes_) {
    std::string known(word);
    if (std::erase_if(known, [&](char byte) { return byte_ids_[std::uint8_t(byte)] < 0; }) > 0)
      return merge_bytes(known, ids);
  }
  merge(
      word.size(), [&](std::size_t at) { return byte_ids_[std::uint8_t(word[at])]; }, ids);
}

IVL_INLINE void Bpe::encode_word(std::string_view word, std::vector<int>& ids) const {
  if (const int id = vocabulary_.id_of(word); id >= 0 && whole_[std::size_t(id)]) return ids.push_back(id);
  merge_bytes(word, ids);
}

template <class Symbol>
void Bpe::merge(std::size_t count, const Symbol& symbol, std::vector<int>& ids) const {
  if (count == 0) return;
  count <= short_word ? merge_short(count, symbol, ids) : merge_long(count, symbol, ids);
}

// Words of a sentence: scanning a few ranks in one cache line beats any queue.
template <class Symbol>
void Bpe::merge_short(std::size_t number, const Symbol& symbol, std::vector<int>& ids) const {
  std::array<int, short_word + 1> symbols;
  std::array<std::uint32_t, short_word + 1> ranks;  // of symbols i and i + 1
  std::array<int, short_word + 1> into;
  int count = int(number);
  const auto look_up = [&](int at) {
    const bool pair = at + 1 < count;
    const Pair found = pair ? slot_of(key_of(symbols[std::size_t(at)], symbols[std::size_t(at) + 1])) : Pair{};
    ranks[std::size_t(at)] = found.rank;
    into[std::size_t(at)] = found.into;
  };
  for (int at = 0; at < count; ++at) symbols[std::size_t(at)] = symbol(std::size_t(at));
  for (int at = 0; at < count; ++at) look_up(at);
  for (;;) {
    int best = 0;
    for (int at = 1; at < count; ++at)
      if (ranks[std::size_t(at)] < ranks[std::size_t(best)]) best = at;
    if (ranks[std::size_t(best)] == no_rank) break;
    symbols[std::size_t(best)] = into[std::size_t(best)];
    --count;
    for (int at = best + 1; at < count; ++at) {
      symbols[std::size_t(at)] = symbols[std::size_t(at) + 1];
      ranks[std::size_t(at)] = ranks[std::size_t(at) + 1];
      into[std::size_t(at)] = into[std::size_t(at) + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

// A megabyte without a space: a linked list of symbols and a queue of the merges that were possible when queued.
template <class FirstSymbol>
void Bpe::merge_long(std::size_t number, const FirstSymbol& symbol_at, std::vector<int>& ids) const {
  struct Symbol {
    int id;  // -1: merged into its left neighbour
    std::uint32_t left, right;
  };
  struct Candidate {
    std::uint32_t rank, at;
    int left_id, right_id;
    bool operator<(const Candidate& other) const {  // std::priority_queue pops the greatest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  if (number >= no_rank) fail<RequestError>("text: ", number, " symbols without a break are too many");
  const std::uint32_t end = std::uint32_t(number);
  std::vector<Symbol> symbols(number);
  std::vector<Candidate> first;
  const auto candidate = [&](std::uint32_t at, auto&& use) {
    if (symbols[at].right == end) return;
    const int left_id = symbols[at].id, right_id = symbols[symbols[at].right].id;
    const Pair& pair = slot_of(key_of(left_id, right_id));
    if (pair.rank != no_rank) use(Candidate{pair.rank, at, left_id, right_id});
  };
  for (std::uint32_t at = 0; at < end; ++at) symbols[at] = {symbol_at(at), at - 1, at + 1};
  for (std::uint32_t at = 0; at < end; ++at) candidate(at, [&](Candidate c) { first.push_back(c); });
  std::priority_queue<Candidate> queue({}, std::move(first));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& symbol = symbols[best.at];
    const std::uint32_t right = symbol.right;
    if (symbol.id != best.left_id || right == end || symbols[right].id != best.right_id) continue;  // merged meanwhile
    symbol.id = slot_of(key_of(best.left_id, best.right_id)).into;
    symbol.right = symbols[right].right;
    symbols[right].id = -1;
    if (symbol.right != end) symbols[symbol.right].left = best.at;
    candidate(best.at, [&](Candidate c) { queue.push(c); });
    if (best.at > 0) candidate(symbol.left, [&](Candidate c) { queue.push(c); });
  }
  for (std::uint32_t at = 0; at != end; at = symbols[at].right) ids.push_back(symbols[at].id);
}

}  // namespace ivl
