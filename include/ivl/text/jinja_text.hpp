// Python's str, as far as chat templates use it, over UTF-8: characters are code points.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"

namespace ivl::detail::jinja {

/// Code points in `text`, which is UTF-8.
std::size_t character_count(std::string_view text);
std::vector<std::string_view> characters(std::string_view text);

/// How many bytes of white space (str.isspace) `text` starts with.
std::size_t space_at(std::string_view text);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
/// Without characters of `set` at the chosen ends.
std::string_view strip_characters(std::string_view text, std::string_view set, bool left, bool right);

/// Where `part` begins, npos if nowhere; takes linear time.
std::size_t find_text(std::string_view text, std::string_view part, std::size_t from = 0);
/// At most `limit` times, unless that is negative.
std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit);
/// At white space, and at `separator`, which is not empty. At most `limit` times, unless that is negative.
std::vector<std::string_view> split(std::string_view text, std::int64_t limit);
std::vector<std::string_view> split(std::string_view text, std::string_view separator, std::int64_t limit);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// Nothing where a character's other case depends on more than the character, or is not known here.
std::optional<std::string> upper(std::string_view text);
std::optional<std::string> lower(std::string_view text);
std::optional<std::string> capitalize(std::string_view text);
/// str.title(), and the filter of that name.
std::optional<std::string> title(std::string_view text);
std::optional<std::string> title_filter(std::string_view text);

/// str.isprintable() of one character.
bool is_printable(char32_t code_point);
void append_utf8(std::string& text, char32_t code_point);

/// Whether `text` has decimal digits of other scripts, which the next two do not read.
bool has_other_digits(std::string_view text);
/// int(text) and float(text), nothing where Python raises ValueError. `too_large`: beyond 64 bits.
std::optional<std::int64_t> to_integer(std::string_view text, bool& too_large);
std::optional<double> to_real(std::string_view text);

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_text.ipp"
#endif
