// White space at the ends of a text, as Python's str.strip() takes it off.
#pragma once
#include <array>
#include <cstddef>
#include <string_view>

namespace ivl {

/// `text`, which is UTF-8, without the white space at both ends.
constexpr std::string_view strip(std::string_view text) {
  // What Python 3's str.isspace() is true of: the ASCII ones, then by their UTF-8.
  constexpr std::array<std::string_view, 29> spaces{
      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1c",   "\x1d",   "\x1e",   "\x1f",   " ",
      "\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
      "\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  const auto cut = [&](auto has, auto remove) {
    for (std::size_t i = 0; i < spaces.size();) {
      if (has(spaces[i])) {
        remove(spaces[i].size());
        i = 0;
      } else {
        ++i;
      }
    }
  };
  cut([&](std::string_view space) { return text.starts_with(space); }, [&](std::size_t n) { text.remove_prefix(n); });
  cut([&](std::string_view space) { return text.ends_with(space); }, [&](std::size_t n) { text.remove_suffix(n); });
  return text;
}

}  // namespace ivl
