// The bodies of vocabulary.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "ivl/core/error.hpp"
#include "ivl/text/utf8.hpp"
#include "ivl/text/vocabulary.hpp"

namespace ivl {

IVL_INLINE bool bytes_of_letters(std::string_view letters, std::string& bytes) {
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

IVL_INLINE Vocabulary::Vocabulary(std::span<const Entry> entries) {
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

IVL_INLINE int Vocabulary::id_of(std::string_view bytes) const {
  if (bytes.size() > longest_word_) return -1;
  const std::uint64_t hash = hash_of(bytes);
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].tag == tag_of(hash) && bytes_of(slots_[at].id) == bytes) return slots_[at].id;
  return -1;
}

IVL_INLINE std::uint64_t Vocabulary::hash_of(std::string_view bytes) {
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

}  // namespace ivl
