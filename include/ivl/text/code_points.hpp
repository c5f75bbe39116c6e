// Sets of Unicode characters, and the bytes of UTF-8 that spell them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace ivl {

/// A set of code points; surrogates, which are no characters, are in none.
class CodePoints {
 public:
  struct Range {
    char32_t first, last;
  };

  static constexpr char32_t largest = 0x10FFFF;

  CodePoints() = default;
  explicit CodePoints(std::vector<Range> ranges) : ranges_(std::move(ranges)) { tidy(); }

  static CodePoints all() { return CodePoints({{0, largest}}); }

  /// In order, none touching the next.
  const std::vector<Range>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }

  CodePoints& operator|=(const CodePoints& other) {
    ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
    tidy();
    return *this;
  }

  /// All others.
  CodePoints complement() const {
    std::vector<Range> others;
    char32_t next = 0;
    for (const Range& range : ranges_) {
      if (range.first > next) others.push_back({next, range.first - 1});
      next = range.last + 1;
    }
    if (next <= largest) others.push_back({next, largest});
    return CodePoints(std::move(others));
  }

 private:
  void tidy() {
    constexpr char32_t first_surrogate = 0xD800, last_surrogate = 0xDFFF;
    std::vector<Range> parts;
    for (const Range& range : ranges_) {
      const Range below{range.first, std::min<char32_t>(range.last, first_surrogate - 1)};
      const Range above{std::max<char32_t>(range.first, last_surrogate + 1), range.last};
      if (below.first <= below.last) parts.push_back(below);
      if (above.first <= above.last) parts.push_back(above);
    }
    std::ranges::sort(parts, {}, &Range::first);
    ranges_.clear();
    for (const Range& part : parts) {
      if (!ranges_.empty() && part.first <= ranges_.back().last + 1)
        ranges_.back().last = std::max(ranges_.back().last, part.last);
      else
        ranges_.push_back(part);
    }
  }

  std::vector<Range> ranges_;
};

/// The bytes at one place of some characters.
struct ByteRange {
  std::uint8_t first, last;
};

/// Calls found(sequence), a std::vector<ByteRange> of 1 to 4, for sequences that together spell the characters from
/// `first` to `last` and nothing else. Neither may be a surrogate, nor may any between them.
template <class Found>
void each_utf8_sequence(char32_t first, char32_t last, const Found& found) {
  for (const char32_t end : {0x7Fu, 0x7FFu, 0xFFFFu}) {
    if (first <= end && end < last) {
      each_utf8_sequence(first, end, found);
      each_utf8_sequence(end + 1, last, found);
      return;
    }
  }
  const int length = last < 0x80 ? 1 : last < 0x800 ? 2 : last < 0x10000 ? 3 : 4;
  // Where leading bytes differ, the bytes behind them must run through all of their values.
  for (int bytes = 1; bytes < length; ++bytes) {
    const char32_t tail = (char32_t(1) << 6 * bytes) - 1;
    if ((first & ~tail) == (last & ~tail)) continue;
    if ((first & tail) != 0) {
      each_utf8_sequence(first, first | tail, found);
      each_utf8_sequence((first | tail) + 1, last, found);
      return;
    }
    if ((last & tail) != tail) {
      each_utf8_sequence(first, (last & ~tail) - 1, found);
      each_utf8_sequence(last & ~tail, last, found);
      return;
    }
  }
  const auto byte = [length](char32_t code_point, int at) {
    const char32_t bits = code_point >> 6 * (length - 1 - at);
    if (at > 0) return std::uint8_t(0x80 | (bits & 0x3F));
    return std::uint8_t(length == 1 ? bits : bits | (0xF00u >> length & 0xFF));
  };
  std::vector<ByteRange> sequence;
  for (int at = 0; at < length; ++at) sequence.push_back({byte(first, at), byte(last, at)});
  found(sequence);
}

}  // namespace ivl
