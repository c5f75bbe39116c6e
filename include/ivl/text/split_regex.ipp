// The bodies of split_regex.hpp.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <sstream>
#include <string>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/text/newer_categories.hpp"
#include "ivl/text/split_regex.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl {

namespace detail {

/// Of a category such as \p{L}.
enum class CategoryMembers { of_pcre2, newer_too };

/// Whether `text` has a character whose category an older PCRE2 does not know. Hardly any text has, and without them
/// the expression is up to ten times faster.
inline bool has_newer_characters(std::string_view text) {
  const auto& ranges = newer_categories;
  for (text.remove_prefix(ascii_prefix(text)); !text.empty(); text.remove_prefix(ascii_prefix(text))) {
    const Utf8Step step = utf8_step(text);
    const auto* range = std::partition_point(std::begin(ranges), std::end(ranges),
                                             [&](const auto& one) { return one.last < step.code_point; });
    if (range != std::end(ranges) && range->first <= step.code_point) return true;
    text.remove_prefix(std::size_t(step.bytes));
  }
  return false;
}

inline std::string pcre2_message(int error) {
  PCRE2_UCHAR text[200];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// The code points of a category, "L" or "Lu", that an older PCRE2 may not know, for use inside [...].
inline std::string newer_members(std::string_view category) {
  std::ostringstream ranges;
  char32_t first = 1, last = 0;
  const auto give = [&] {
    if (first <= last) ranges << "\\x{" << std::hex << std::uint32_t(first) << "}-\\x{" << std::uint32_t(last) << '}';
  };
  for (const CategoryRange& range : newer_categories) {
    if (category.empty() || !std::string_view(range.category).starts_with(category)) continue;
    if (range.first != last + 1) {
      give();
      first = range.first;
    }
    last = range.last;
  }
  give();
  return std::move(ranges).str();
}

// PCRE2's \s contains U+180E, which is not Unicode White_Space any more; so \s and \S are spelt out. So are
// categories where Unicode 16 has more members than PCRE2's older tables.
inline std::string translated_pattern(std::string_view pattern, CategoryMembers known) {
  constexpr std::string_view space =
      "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
  std::string out;
  bool in_class = false;
  const auto refuse = [&](char escape) {
    fail<FileError>("pre_tokenizer: \\", escape, in_class ? " in a character class" : "",
                    " is not implemented (regular expression ", pattern, ")");
  };
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c != '\\') {
      if (in_class && c == '[') fail<FileError>("pre_tokenizer: [ inside [...] is not implemented (", pattern, ")");
      in_class = in_class ? c != ']' : c == '[';
      out += c;
      continue;
    }
    if (++at == pattern.size()) fail<FileError>("pre_tokenizer: the regular expression ", pattern, " ends in \\");
    const char escape = pattern[at];
    const bool letter = (escape >= 'a' && escape <= 'z') || (escape >= 'A' && escape <= 'Z');
    const bool digit = escape >= '0' && escape <= '9';
    if (escape == 's') {
      out.append(in_class ? "" : "[").append(space).append(in_class ? "" : "]");
    } else if (escape == 'S' && !in_class) {
      out.append("[^").append(space).append("]");
    } else if (std::string_view("pPdD").find(escape) != std::string_view::npos) {
      std::string_view name = "Nd";
      if (escape == 'p' || escape == 'P') {
        const std::size_t end = pattern.find('}', at);
        if (end == pattern.npos || pattern[at + 1] != '{')
          fail<FileError>("pre_tokenizer: \\", escape, ": expected a property in {} (regular expression ", pattern,
                          ")");
        name = pattern.substr(at + 2, end - at - 2);
        at = end;
      }
      const bool caret = name.starts_with('^');
      name.remove_prefix(caret ? 1 : 0);
      const bool negated = (escape == 'P' || escape == 'D') != caret;
      const std::string members = std::string("\\p{").append(name).append("}") +
                                  (known == CategoryMembers::newer_too ? newer_members(name) : std::string());
      if (in_class && negated) refuse(escape);
      if (in_class)
        out += members;
      else if (known == CategoryMembers::of_pcre2)
        out.append(negated ? "\\P" : "\\p").append(members, 2);
      else
        out.append(negated ? "[^" : "[").append(members).append("]");
    } else if (digit || (letter && std::string_view("rnt").find(escape) == std::string_view::npos)) {
      refuse(escape);
    } else {
      out.append({'\\', escape});
    }
  }
  return out;
}

inline std::shared_ptr<pcre2_code> compiled_pattern(std::string_view pattern, CategoryMembers members) {
  const std::string translated = translated_pattern(pattern, members);
  int error = 0;
  std::size_t at = 0;
  const std::shared_ptr<pcre2_code> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr),
      pcre2_code_free);
  if (!code)
    fail<FileError>("pre_tokenizer: the regular expression ", pattern, " does not compile: ", pcre2_message(error));
  // Without just-in-time compilation (it may be switched off in PCRE2) matching is slower and otherwise the same.
  (void)pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace detail

IVL_INLINE SplitRegex::SplitRegex(std::string_view pattern)
    : code_(detail::compiled_pattern(pattern, detail::CategoryMembers::of_pcre2)),
      newer_code_(detail::compiled_pattern(pattern, detail::CategoryMembers::newer_too)) {}

IVL_INLINE void SplitRegex::split(std::string_view text, const void* to,
                                  void (*word)(const void* to, std::string_view)) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(pcre2_match_data_create(1, nullptr),
                                                                                  pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  if (!match || !context) throw std::bad_alloc();
  // Linear: the published patterns go back over a run of characters once or twice; a hostile one must not go on for
  // ever.
  pcre2_set_match_limit(context.get(), std::uint32_t(std::min<std::size_t>(100'000 + 8 * text.size(), UINT32_MAX)));
  const pcre2_code* code = detail::has_newer_characters(text) ? newer_code_.get() : code_.get();
  const std::size_t* bounds = pcre2_get_ovector_pointer(match.get());
  for (std::size_t at = 0; at < text.size();) {
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) return word(to, text.substr(at));
    if (found < 0)
      fail<RequestError>("cannot split text of ", text.size(), " bytes into words: ", detail::pcre2_message(found));
    if (bounds[0] > at) word(to, text.substr(at, bounds[0] - at));
    word(to, text.substr(bounds[0], bounds[1] - bounds[0]));
    at = bounds[1];
  }
}

}  // namespace ivl
