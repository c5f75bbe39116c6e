// The bodies of nfc.hpp.
#pragma once
#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "ivl/text/nfc.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

IVL_INLINE bool surely_nfc(std::string_view text) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range ranges[] = {
      {0x0000, 0x02FF},                                        // Latin
      {0x0370, 0x0373}, {0x0376, 0x0377}, {0x0388, 0x03FF},    // Greek, up to the signs that decompose
      {0x0400, 0x0482},                                        // Cyrillic
      {0x2010, 0x2027}, {0x2030, 0x205E},                      // dashes, quotes
      {0x2190, 0x21FF}, {0x2200, 0x2328}, {0x2500, 0x27BF},    // arrows, mathematics, boxes, dingbats
      {0x3000, 0x3029}, {0x3041, 0x3096}, {0x30A0, 0x30FF},    // CJK punctuation, kana
      {0x3400, 0x4DBF}, {0x4E00, 0x9FFF},                      // CJK ideographs
      {0xAC00, 0xD7A3},                                        // Hangul syllables
      {0xFE0E, 0xFE0F}, {0xFF01, 0xFFEF}, {0x1F300, 0x1FAFF},  // variation selectors, full width, emoji
  };
  for (text.remove_prefix(ascii_prefix(text)); !text.empty(); text.remove_prefix(ascii_prefix(text))) {
    const Utf8Step step = utf8_step(text);
    const auto range =
        std::find_if(std::begin(ranges), std::end(ranges), [&](Range r) { return step.code_point <= r.last; });
    if (range == std::end(ranges) || step.code_point < range->first) return false;
    text.remove_prefix(std::size_t(step.bytes));
  }
  return true;
}

IVL_INLINE std::string to_nfc(std::string_view text) {
  const auto combining_class = [](utf8proc_int32_t code_point) {
    return utf8proc_get_property(code_point)->combining_class;
  };
  std::vector<utf8proc_int32_t> code_points;
  code_points.reserve(text.size() + text.size() / 2);
  int boundary = 0;
  for (; !text.empty();) {
    const Utf8Step step = utf8_step(text);
    text.remove_prefix(std::size_t(step.bytes));
    utf8proc_int32_t parts[8];  // a canonical decomposition has at most four
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(utf8proc_int32_t(step.code_point), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
    code_points.insert(code_points.end(), parts, parts + count);
  }
  // utf8proc's own ordering of marks is quadratic in the length of a run of them, which a stranger's text may choose.
  for (auto from = code_points.begin(); from != code_points.end();) {
    from = std::find_if(from, code_points.end(), [&](auto c) { return combining_class(c) != 0; });
    const auto to = std::find_if(from, code_points.end(), [&](auto c) { return combining_class(c) == 0; });
    std::stable_sort(from, to, [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    from = to;
  }
  // One element more: utf8proc_reencode writes the text over the code points and ends it with a zero byte.
  const auto count = utf8proc_ssize_t(code_points.size());
  code_points.push_back(0);
  const utf8proc_ssize_t bytes =
      utf8proc_reencode(code_points.data(), count, utf8proc_option_t(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  return std::string(reinterpret_cast<const char*>(code_points.data()), std::size_t(bytes));
}

}  // namespace ivl
