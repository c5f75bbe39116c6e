// The bodies of json_numbers.hpp.
#pragma once
#include <algorithm>
#include <cstddef>

#include "ivl/text/byte_regex.hpp"
#include "ivl/text/json_numbers.hpp"

namespace ivl {

namespace detail {

/// Digits of numbers between two of equal length, from digit `at` on. Where what was written equals the start of
/// `least` or `most`, that bound still counts.
inline void add_digits(ByteGrammar& grammar, int from, int to, std::string_view least, std::string_view most,
                       bool at_least, bool at_most) {
  if (least.empty()) return grammar.skip(from, to);
  const char low = at_least ? least[0] : '0', high = at_most ? most[0] : '9';
  const auto go_on = [&](char first, char last, bool still_least, bool still_most) {
    if (first > last) return;
    const int next = grammar.add_state();
    grammar.read(from, ByteRange{std::uint8_t(first), std::uint8_t(last)}, next);
    add_digits(grammar, next, to, least.substr(1), most.substr(1), still_least, still_most);
  };
  if (low == high && at_least && at_most) return go_on(low, high, true, true);
  const char first = at_least ? char(low + 1) : low, last = at_most ? char(high - 1) : high;
  if (at_least) go_on(low, low, true, false);
  if (at_most) go_on(high, high, false, true);
  go_on(first, last, false, false);
}

/// Numbers of 0 or more, without a sign.
inline void add_naturals(ByteGrammar& grammar, int from, int to, std::int64_t least, std::int64_t most) {
  for (std::int64_t power = 1; least <= most; power *= 10) {
    const std::int64_t end = power * 10 - 1;  // the largest of as many digits
    if (least > end) continue;
    add_digits(grammar, from, to, std::to_string(least), std::to_string(std::min(most, end)), true, true);
    least = end + 1;
  }
}

/// A magnitude between two that are 0 or more.
inline void add_magnitudes(ByteGrammar& grammar, int from, int to, const JsonBounds& bounds, int fraction_digits) {
  const int whole = grammar.add_state();
  grammar.skip(whole, to);
  const std::string some = "[0-9]{1," + std::to_string(fraction_digits) + "}";
  const auto fraction = [&](int begin, const std::string& pattern) {
    ByteRegex("\\." + pattern, "fraction").add_whole(grammar, begin, to);
  };
  fraction(whole, some);
  add_naturals(grammar, from, whole, bounds.least + 1, bounds.most - 1);
  const auto exactly = [&](std::int64_t number) {
    const int behind = grammar.add_state();
    grammar.read_text(from, std::to_string(number), behind);
    return behind;
  };
  if (bounds.most > bounds.least) {
    const int behind = exactly(bounds.least);
    if (!bounds.above_least) grammar.skip(behind, whole);
    // A digit that is not 0 stands behind the point.
    for (int zeros = 0; bounds.above_least && zeros < fraction_digits; ++zeros)
      fraction(behind,
               "0{" + std::to_string(zeros) + "}[1-9][0-9]{0," + std::to_string(fraction_digits - zeros - 1) + "}");
  }
  if (bounds.below_most || bounds.most < bounds.least || (bounds.most == bounds.least && bounds.above_least)) return;
  const int behind = exactly(bounds.most);
  grammar.skip(behind, to);
  fraction(behind, "0{1," + std::to_string(fraction_digits) + "}");
}

/// Those of the bounds that are 0 or more, and, of `-x`, those of x.
inline JsonBounds not_negative(JsonBounds bounds) {
  if (bounds.least < 0) {
    bounds.least = 0;
    bounds.above_least = false;
  }
  return bounds;
}
inline JsonBounds mirrored(const JsonBounds& bounds) {
  return {-bounds.most, -bounds.least, bounds.below_most, bounds.above_least};
}

}  // namespace detail

IVL_INLINE void add_integers(ByteGrammar& grammar, int from, int to, JsonBounds bounds) {
  const std::int64_t least = bounds.least + bounds.above_least, most = bounds.most - bounds.below_most;
  detail::add_naturals(grammar, from, to, std::max<std::int64_t>(least, 0), most);
  const int minus = grammar.add_state();
  grammar.read(from, '-', minus);
  detail::add_naturals(grammar, minus, to, std::max<std::int64_t>(-most, 1), -least);
}

IVL_INLINE void add_decimals(ByteGrammar& grammar, int from, int to, const JsonBounds& bounds, int fraction_digits) {
  const auto add = [&](int begin, const JsonBounds& side) {
    if (side.least <= side.most)
      detail::add_magnitudes(grammar, begin, to, detail::not_negative(side), fraction_digits);
  };
  if (bounds.most >= 0) add(from, bounds);
  if (bounds.least > 0) return;
  const int minus = grammar.add_state();
  grammar.read(from, '-', minus);
  add(minus, detail::mirrored(bounds));
}

}  // namespace ivl
