// Byte-pair encoding: start from the smallest symbols (bytes, or SentencePiece's characters), and again and again merge
// the adjacent pair that stands first in the list of merges (leftmost on ties), until no adjacent pair is in the list
// (Sennrich et al. 2016).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/text/vocabulary.hpp"

namespace ivl {

/// Const after construction; threads may share it.
class Bpe {
 public:
  struct Merge {
    int left, right, into;  ///< ids
    std::uint32_t rank;     ///< the lowest goes first
  };

  /// byte_ids: the token of each byte; -1: `encode_word` leaves it out. Merges are in the order of their ranks.
  Bpe(Vocabulary vocabulary, const std::array<int, 256>& byte_ids, std::span<const Merge> merges);

  /// Prepares `encode_word`. `ignore_merges`: a word that is a token becomes that token, whatever the merges say (as in
  /// the key of that name in tokenizer.json).
  void prepare_words(std::span<const Merge> merges, bool ignore_merges);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  int byte_id(std::uint8_t byte) const { return byte_ids_[byte]; }

  /// Appends the ids of `word`, which is not empty, starting from its bytes. O(n log n) in its length.
  void encode_word(std::string_view word, std::vector<int>& ids) const;

  /// Appends what the merges make of `count` symbols, the ids symbol(0), symbol(1), ...
  template <class Symbol>
  void merge(std::size_t count, const Symbol& symbol, std::vector<int>& ids) const;

 private:
  static constexpr std::uint32_t no_rank = UINT32_MAX;
  static constexpr std::uint64_t no_key = UINT64_MAX;
  struct Pair {
    std::uint64_t key = no_key;
    std::uint32_t rank = no_rank;
    std::int32_t into = -1;
  };

  static std::uint64_t key_of(int left, int right) { return std::uint64_t(left) << 32 | std::uint32_t(right); }

  const Pair& slot_of(std::uint64_t key) const;
  Pair& slot_of(std::uint64_t key) { return const_cast<Pair&>(std::as_const(*this).slot_of(key)); }

  void merge_bytes(std::string_view word, std::vector<int>& ids) const;

  static constexpr std::size_t short_word = 32;
  template <class Symbol>
  void merge_short(std::size_t number, const Symbol& symbol, std::vector<int>& ids) const;
  template <class FirstSymbol>
  void merge_long(std::size_t number, const FirstSymbol& symbol_at, std::vector<int>& ids) const;

  Vocabulary vocabulary_;
  std::array<int, 256> byte_ids_;
  bool drops_bytes_;
  std::vector<Pair> pairs_;  // open addressing, a power of two, at most half full
  std::vector<bool> whole_;  // [id] encode_word makes this one id of the token's bytes
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/bpe.ipp"
#endif
