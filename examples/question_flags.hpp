// Flags about what is asked, for programs that ask each question on its own.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "ivl/text/chat_template.hpp"
#include "text_file.hpp"

struct QuestionFlags {
  std::vector<std::string> asked, files;

  void add_to(CLI::App& app, const std::string& otherwise) {
    otherwise_ = otherwise;
    app.add_option("--question", asked,
                   "may place pictures itself with <image>; repeat for several, each asked on its own: an answer knows "
                   "nothing of the questions before it (default: " +
                       otherwise + ")");
    app.add_option("--prompt-file", files, "the same from a text file, after those of --question; -: standard input");
  }

  /// All of them, in order. Throws FileError, and RequestError for one that is empty or no UTF-8.
  std::vector<std::string> questions() const {
    std::vector<std::string> all = asked;
    for (const std::string& file : files) all.push_back(text_of(file));
    if (all.empty()) all.push_back(otherwise_);
    for (const std::string& question : all) ivl::check_question(question);
    return all;
  }

 private:
  /// Without the line end that editors put at the end.
  static std::string text_of(const std::string& file) {
    std::string text = text_of_file(file);
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    return text;
  }

  std::string otherwise_;
};
