// Questions as lines of a file, each {"question": text, "images": [files]}.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"
#include "text_file.hpp"

struct RequestLine {
  std::string where;  ///< file and line, for errors
  std::string question;
  std::vector<std::string> images;
};

/// The lines of a JSONL file, "-" for standard input; empty ones count, but ask nothing. Throws FileError for the first
/// that is no such object, and where there is none.
inline std::vector<RequestLine> read_request_lines(const std::string& file) {
  const std::string text = text_of_file(file);
  std::vector<RequestLine> lines;
  std::size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + (line.size() < rest.size()));
    const std::string where = (file == "-" ? "standard input" : file) + ": line " + std::to_string(++number);
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const ivl::Json object = ivl::parse_json(line, where);
    RequestLine& request = lines.emplace_back();
    request.where = where;
    request.question = ivl::field<std::string>(object, "question", where);
    request.images = ivl::field_or<std::vector<std::string>>(object, "images", {}, where);
    for (const auto& [key, value] : object.items())
      if (key != "question" && key != "images")
        ivl::fail<ivl::FileError>(where, ": expected the keys question and images, found ", ivl::in_quotes(key));
  }
  if (lines.empty()) ivl::fail<ivl::FileError>(file, ": expected a question on a line, found none");
  return lines;
}
