// A path as people give it to a program that reads lines.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

/// The path of a line's rest: typed (with ~ for the home folder), pasted in quotes, or dragged into the terminal, which
/// writes quotes, backslashes before blanks or a file:// address. Blanks at the ends do not count. A file whose name is
/// the text as it stands comes first.
inline std::string typed_path(std::string_view typed) {
  const std::string_view blanks = " \t\r";
  const auto first = typed.find_first_not_of(blanks);
  if (first == typed.npos) return {};
  typed = typed.substr(first, typed.find_last_not_of(blanks) + 1 - first);

  std::error_code ignored;
  if (std::filesystem::exists(typed, ignored)) return std::string(typed);

  const char quote = typed.front();
  if ((quote == '"' || quote == '\'') && typed.size() >= 2 && typed.back() == quote)
    return std::string(typed.substr(1, typed.size() - 2));

  std::string path;
  const std::string_view scheme = "file://";
  if (typed.starts_with(scheme)) {
    typed.remove_prefix(scheme.size());
    typed.remove_prefix(std::min(typed.find('/'), typed.size()));  // the host's name
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    const auto is_digit = [](char c) {
      return std::string_view("0123456789abcdefABCDEF").find(c) != std::string_view::npos;
    };
    for (std::size_t i = 0; i < typed.size(); ++i) {
      const bool escaped = typed[i] == '%' && i + 2 < typed.size() && is_digit(typed[i + 1]) && is_digit(typed[i + 2]);
      path += escaped ? char(16 * digit(typed[i + 1]) + digit(typed[i + 2])) : typed[i];
      if (escaped) i += 2;
    }
    return path;
  }

  const char* home = std::getenv("HOME");
  if (home && (typed == "~" || typed.starts_with("~/"))) {
    path = home;
    typed.remove_prefix(1);
  }
  for (std::size_t i = 0; i < typed.size(); ++i) {
    if (typed[i] == '\\' && i + 1 < typed.size()) ++i;
    path += typed[i];
  }
  return path;
}
