// Token ids and the bytes they stand for.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

/// Byte-level BPE files spell each byte as one printable character (GPT-2's bytes_to_unicode): the bytes 21-7E, A1-AC
/// and AE-FF as the code point of that value, the other 68 in order from U+0100. Puts the bytes of such a word in
/// `bytes`; false where a character is not one of those 256.
inline bool bytes_of_letters(std::string_view letters, std::string& bytes) {
  static constexpr auto byte_of = [] {
    std::array<std::int16_t, 0x144> table{};
    table.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      table[std::size_t(itself ? byte : next++)] = std::int16_t(byte);
    }
    return table;
  }();
  bytes.clear();
  while (!letters.empty()) {
    const Utf8Step step = utf8_step(letters);
    if (step.code_point >= byte_of.size() || byte_of[step.code_point] < 0) return false;
    bytes += char(byte_of[step.code_point]);
    letters.remove_prefix(std::size_t(step.bytes));
  }
  return true;
}

/// The bytes of every id from 0 on, in one block, and the way back for the ids that BPE may produce.
/// Const after construction; threads may share it.
class Vocabulary {
 public:
  struct Entry {
    std::string bytes;
    bool added;  ///< found by Tokenizer before BPE; BPE never produces it
  };

  /// entries[id]. Throws FileError where two entries of BPE have the same bytes.
  explicit Vocabulary(std::span<const Entry> entries) {
    std::size_t bytes = 0;
    for (const Entry& entry : entries) bytes += entry.bytes.size();
    if (bytes > UINT32_MAX || entries.size() > INT32_MAX / 4)
      fail<FileError>("vocabulary: ", bytes, " bytes are too many");
    block_.reserve(bytes);
    starts_.reserve(entries.size() + 1);
    for (const Entry& entry : entries) {
      starts_.push_back(std::uint32_t(block_.size()));
      block_ += entry.bytes;
      longest_ = std::max(longest_, entry.bytes.size());
      if (!entry.added) longest_word_ = std::max(longest_word_, entry.bytes.size());
    }
    starts_.push_back(std::uint32_t(block_.size()));
    slots_.resize(std::bit_ceil(entries.size() * 2 + 1));
    for (int id = 0; id < size(); ++id) {
      if (entries[std::size_t(id)].added) continue;
      const std::uint64_t hash = hash_of(bytes_of(id));
      std::size_t at = hash & (slots_.size() - 1);
      for (; slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].tag == tag_of(hash) && bytes_of(slots_[at].id) == bytes_of(id))
          fail<FileError>("vocabulary: ids ", slots_[at].id, " and ", id, " are both \"", to_utf8(bytes_of(id)), "\"");
      slots_[at] = {tag_of(hash), id};
    }
  }

  int size() const { return int(starts_.size()) - 1; }

  /// Empty where there is no such id.
  std::string_view bytes_of(int id) const {
    if (id < 0 || id >= size()) return {};
    const std::size_t start = starts_[std::size_t(id)];
    return std::string_view(block_).substr(start, starts_[std::size_t(id) + 1] - start);
  }

  /// The id that BPE may produce for exactly these bytes, or -1.
  int id_of(std::string_view bytes) const {
    if (bytes.size() > longest_word_) return -1;
    const std::uint64_t hash = hash_of(bytes);
    for (std::size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].tag == tag_of(hash) && bytes_of(slots_[at].id) == bytes) return slots_[at].id;
    return -1;
  }

  std::size_t longest_bytes() const { return longest_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // the half of the hash that did not choose the slot
    std::int32_t id = -1;
  };

  static std::uint32_t tag_of(std::uint64_t hash) { return std::uint32_t(hash >> 32); }

  static std::uint64_t hash_of(std::string_view bytes) {
    constexpr std::uint64_t odd = 0x9E3779B97F4A7C15u;
    const auto mix = [](std::uint64_t x) { return (x ^ (x >> 29)) * odd; };
    const auto load = [&]<class Word>(std::size_t at, Word word) {
      std::memcpy(&word, bytes.data() + at, sizeof word);
      return std::uint64_t(word);
    };
    const std::size_t size = bytes.size();
    std::uint64_t hash = size * odd;
    if (size >= 8) {
      for (std::size_t at = 0; at + 8 < size; at += 8) hash = mix(hash ^ load(at, std::uint64_t{}));
      hash ^= load(size - 8, std::uint64_t{});
    } else if (size >= 4) {
      hash ^= load(0, std::uint32_t{}) << 32 | load(size - 4, std::uint32_t{});
    } else if (size > 0) {
      hash ^= load(0, std::uint8_t{}) << 16 | load(size / 2, std::uint8_t{}) << 8 | load(size - 1, std::uint8_t{});
    }
    hash = mix(mix(hash));
    return hash ^ (hash >> 32);
  }

  std::string block_;
  std::vector<std::uint32_t> starts_;  // [size + 1]
  std::vector<Slot> slots_;            // open addressing, a power of two, at most half full
  std::size_t longest_ = 0, longest_word_ = 0;
};

}  // namespace ivl
