#pragma once
#include <string.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "ivl/text/jinja_text.hpp"
#include "ivl/text/strip.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::detail::jinja {

IVL_INLINE std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

IVL_INLINE std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto bytes = std::size_t(utf8_step(text).bytes);
    result.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return result;
}

IVL_INLINE std::size_t space_at(std::string_view text) {
  if (text.empty()) return 0;
  const Utf8Step step = utf8_step(text);
  return strip(text.substr(0, std::size_t(step.bytes))).empty() ? std::size_t(step.bytes) : 0;
}

IVL_INLINE std::string_view strip_left(std::string_view text) {
  while (const std::size_t bytes = space_at(text)) text.remove_prefix(bytes);
  return text;
}

IVL_INLINE std::string_view strip_right(std::string_view text) {
  const std::string_view rest = strip_left(text);
  return rest.empty() ? rest : text.substr(0, std::size_t(rest.data() - text.data()) + strip(rest).size());
}

IVL_INLINE std::string_view strip_characters(std::string_view text, std::string_view set, bool left, bool right) {
  const std::vector<std::string_view> unwanted = characters(set);
  const auto cut = [&](auto has, auto remove) {
    for (std::size_t i = 0; i < unwanted.size();) {
      if (has(unwanted[i])) {
        remove(unwanted[i].size());
        i = 0;
      } else {
        ++i;
      }
    }
  };
  if (left) cut([&](auto c) { return text.starts_with(c); }, [&](std::size_t n) { text.remove_prefix(n); });
  if (right) cut([&](auto c) { return text.ends_with(c); }, [&](std::size_t n) { text.remove_suffix(n); });
  return text;
}

IVL_INLINE std::size_t find_text(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return text.npos;
  if (part.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? std::size_t(static_cast<const char*>(found) - text.data()) : text.npos;
}

IVL_INLINE std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit) {
  std::string result;
  if (from.empty()) {  // before every character and at the end
    for (const std::string_view c : characters(text)) {
      if (limit != 0) result += to, --limit;
      result += c;
    }
    return limit != 0 ? result.append(to) : result;
  }
  std::size_t at = 0;
  for (std::size_t found; limit != 0 && (found = find_text(text, from, at)) != text.npos; --limit) {
    result.append(text.substr(at, found - at)).append(to);
    at = found + from.size();
  }
  return result.append(text.substr(at));
}

IVL_INLINE std::vector<std::string_view> split(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> parts;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    if (limit == 0) {
      parts.push_back(text);  // with the white space at its end
      break;
    }
    --limit;
    std::size_t end = 0;
    while (end < text.size() && space_at(text.substr(end)) == 0) end += std::size_t(utf8_step(text.substr(end)).bytes);
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

IVL_INLINE std::vector<std::string_view> split(std::string_view text, std::string_view separator, std::int64_t limit) {
  std::vector<std::string_view> parts;
  std::size_t at = 0;
  for (std::size_t found; limit != 0 && (found = find_text(text, separator, at)) != text.npos; --limit) {
    parts.push_back(text.substr(at, found - at));
    at = found + separator.size();
  }
  parts.push_back(text.substr(at));
  return parts;
}

IVL_INLINE std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    std::size_t next = at + std::size_t(step.bytes);
    const char32_t c = step.code_point;
    if ((c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029) {
      if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(begin, (keep_ends ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

// ---- case ------------------------------------------------------------------------------------------

enum class Case { upper, lower, title };

/// Appends the character's other case, false if it is not one character that depends on nothing else.
inline bool append_case(std::string& text, char32_t c, Case to) {
  if (to == Case::lower) {
    if (c == 0x130 || c == 0x3A3) return false;  // I with dot; sigma, which has another form at a word's end
    append_utf8(text, char32_t(utf8proc_tolower(utf8proc_int32_t(c))));
    return true;
  }
  if (c == 0xDF) {
    text += to == Case::upper ? "SS" : "Ss";
    return true;
  }
  // Those that become several characters, and their neighbours.
  if (c == 0x149 || c == 0x1F0 || c == 0x390 || c == 0x3B0 || c == 0x587 || (c >= 0x1E96 && c <= 0x1E9A) ||
      (c >= 0x1F50 && c <= 0x1F57) || (c >= 0x1F80 && c <= 0x1FFC) || (c >= 0xFB00 && c <= 0xFB17)) {
    return false;
  }
  const auto other = to == Case::upper ? utf8proc_toupper : utf8proc_totitle;
  append_utf8(text, char32_t(other(utf8proc_int32_t(c))));
  return true;
}

/// Each character in the case that which(its code point) asks for.
template <class Which>
std::optional<std::string> in_case(std::string_view text, const Which& which) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (!append_case(result, step.code_point, which(step.code_point))) return std::nullopt;
    text.remove_prefix(std::size_t(step.bytes));
  }
  return result;
}

IVL_INLINE std::optional<std::string> upper(std::string_view text) {
  return in_case(text, [](char32_t) { return Case::upper; });
}

IVL_INLINE std::optional<std::string> lower(std::string_view text) {
  return in_case(text, [](char32_t) { return Case::lower; });
}

IVL_INLINE std::optional<std::string> capitalize(std::string_view text) {
  bool first = true;
  return in_case(text, [&](char32_t) { return std::exchange(first, false) ? Case::title : Case::lower; });
}

IVL_INLINE std::optional<std::string> title(std::string_view text) {
  bool in_word = false;
  return in_case(text, [&](char32_t c) {
    const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
    const bool cased =
        category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
    return std::exchange(in_word, cased) ? Case::lower : Case::title;
  });
}

IVL_INLINE std::optional<std::string> title_filter(std::string_view text) {
  bool in_word = false;
  return in_case(text, [&](char32_t c) {
    const bool between = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || [&] {
      std::string one;
      append_utf8(one, c);
      return space_at(one) > 0;
    }();
    return std::exchange(in_word, !between) ? Case::lower : Case::upper;
  });
}

IVL_INLINE bool is_printable(char32_t code_point) {
  if (code_point == ' ') return true;
  switch (utf8proc_category(utf8proc_int32_t(code_point))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

IVL_INLINE void append_utf8(std::string& text, char32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(utf8proc_int32_t(code_point), bytes);
  text.append(reinterpret_cast<const char*>(bytes), std::size_t(count));
}

// ---- numbers ---------------------------------------------------------------------------------------

IVL_INLINE bool has_other_digits(std::string_view text) {
  for (text.remove_prefix(ascii_prefix(text)); !text.empty(); text.remove_prefix(ascii_prefix(text))) {
    const Utf8Step step = utf8_step(text);
    if (utf8proc_category(utf8proc_int32_t(step.code_point)) == UTF8PROC_CATEGORY_ND) return true;
    text.remove_prefix(std::size_t(step.bytes));
  }
  return false;
}

/// `text` without white space at its ends and without the underscores between digits, nothing if there are others. Here
/// Python has four kinds of white space less than elsewhere.
inline std::optional<std::string> plain_number(std::string_view text) {
  std::string digits;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const std::string_view all = strip(text);
  const auto is_separator = [](char c) { return c >= '\x1c' && c <= '\x1f'; };
  const auto begin = std::size_t(all.data() - text.data());
  if (std::ranges::any_of(text.substr(0, begin), is_separator)) return std::nullopt;
  if (std::ranges::any_of(text.substr(begin + all.size()), is_separator)) return std::nullopt;
  text = all;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return digits;
}

IVL_INLINE std::optional<std::int64_t> to_integer(std::string_view text, bool& too_large) {
  too_large = false;
  const std::optional<std::string> digits = plain_number(text);
  if (!digits) return std::nullopt;
  const char* begin = digits->data();
  const char* const end = begin + digits->size();
  if (begin != end && *begin == '+' && begin + 1 != end && begin[1] != '-') ++begin;
  std::int64_t number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (error == std::errc::invalid_argument || stop != end) return std::nullopt;
  too_large = error == std::errc::result_out_of_range;
  return number;
}

IVL_INLINE std::optional<double> to_real(std::string_view text) {
  const std::optional<std::string> digits = plain_number(text);
  if (!digits || digits->empty()) return std::nullopt;
  const char* begin = digits->data();
  const char* const end = begin + digits->size();
  const bool minus = *begin == '-';
  if (*begin == '+' || minus) ++begin;
  if (begin == end || *begin == '+' || *begin == '-') return std::nullopt;
  std::string word(begin, end);
  std::ranges::transform(word, word.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  double number = 0;
  if (word == "inf" || word == "infinity") {
    number = std::numeric_limits<double>::infinity();
  } else if (word == "nan") {
    number = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (word.find_first_not_of("0123456789.e+-") != word.npos) return std::nullopt;
    const auto [stop, error] = std::from_chars(begin, end, number);
    if (error == std::errc::invalid_argument || stop != end) return std::nullopt;
    if (error == std::errc::result_out_of_range) {  // which does not say whether it is too large or too small
      number = word.find("e-") != word.npos ? 0 : std::numeric_limits<double>::infinity();
    }
  }
  return minus ? -number : number;
}

}  // namespace ivl::detail::jinja
