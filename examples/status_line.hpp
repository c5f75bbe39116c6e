// One line at the foot of a terminal that says what the program is busy with.
#pragma once
#include <unistd.h>

#include <cstdio>
#include <string>

#include "ivl/checkpoint/progress.hpp"
#include "ivl/serve/options.hpp"

/// Writes nothing at all where stderr is no terminal.
class StatusLine {
 public:
  StatusLine() = default;
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  ~StatusLine() { clear(); }

  void show(const std::string& text) {
    if (!on_terminal_ || text == shown_) return;
    shown_ = text;
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
  }
  void clear() {
    if (shown_.empty()) return;
    shown_.clear();
    std::fputs("\r\033[K", stderr);
  }

  void show(const ivl::LoadProgress& progress) {
    if (progress.bytes_done == progress.bytes_total) return clear();
    show("loading: " + std::to_string(100 * progress.bytes_done / progress.bytes_total) + " %");
  }
  void show(const ivl::AnswerProgress& progress) {
    if (progress.tiles_done < progress.tiles)
      show("seeing: tile " + std::to_string(progress.tiles_done + 1) + " of " + std::to_string(progress.tiles));
    else
      show("reading: " + std::to_string(progress.prompt_done) + " of " + std::to_string(progress.prompt_tokens) +
           " tokens");
  }

 private:
  const bool on_terminal_ = isatty(2) == 1;
  std::string shown_;
};
