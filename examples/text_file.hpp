// Texts that flags name: a file, or standard input.
#pragma once
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include "ivl/core/error.hpp"

/// All of a file; "-" is standard input. Throws FileError.
inline std::string text_of_file(const std::string& file) {
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  const File opened(file == "-" ? nullptr : std::fopen(file.c_str(), "rb"),
                    [](std::FILE* f) { return std::fclose(f); });
  std::FILE* const in = file == "-" ? stdin : opened.get();
  std::string text;
  char bytes[4096];
  for (std::size_t number; in && (number = std::fread(bytes, 1, sizeof bytes, in)) > 0;) text.append(bytes, number);
  if (!in || std::ferror(in) != 0)
    ivl::fail<ivl::FileError>(file, ": cannot be read: ", std::generic_category().message(errno));
  return text;
}
