// Token ids and the bytes they stand for.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Byte-level BPE files spell each byte as one printable character (GPT-2's bytes_to_unicode): the bytes 21-7E, A1-AC
/// and AE-FF as the code point of that value, the other 68 in order from U+0100. Puts the bytes of such a word in
/// `bytes`; false where a character is not one of those 256.
bool bytes_of_letters(std::string_view letters, std::string& bytes);

/// The bytes of every id from 0 on, in one block, and the way back for the ids that BPE may produce.
/// Const after construction; threads may share it.
class Vocabulary {
 public:
  struct Entry {
    std::string bytes;
    bool added;  ///< found by Tokenizer before BPE; BPE never produces it
  };

  /// entries[id]. Throws FileError where two entries of BPE have the same bytes.
  explicit Vocabulary(std::span<const Entry> entries);

  int size() const { return int(starts_.size()) - 1; }

  /// Empty where there is no such id.
  std::string_view bytes_of(int id) const {
    if (id < 0 || id >= size()) return {};
    const std::size_t start = starts_[std::size_t(id)];
    return std::string_view(block_).substr(start, starts_[std::size_t(id) + 1] - start);
  }

  /// The id that BPE may produce for exactly these bytes, or -1.
  int id_of(std::string_view bytes) const;

  std::size_t longest_bytes() const { return longest_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // the half of the hash that did not choose the slot
    std::int32_t id = -1;
  };

  static std::uint32_t tag_of(std::uint64_t hash) { return std::uint32_t(hash >> 32); }

  static std::uint64_t hash_of(std::string_view bytes);

  std::string block_;
  std::vector<std::uint32_t> starts_;  // [size + 1]
  std::vector<Slot> slots_;            // open addressing, a power of two, at most half full
  std::size_t longest_ = 0, longest_word_ = 0;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/vocabulary.ipp"
#endif
