// What a program says on stderr beside its answers: notes, and one line at the foot of a terminal that says what it is
// busy with.
#pragma once
#include <unistd.h>

#include <cstdio>
#include <string>

#include "ivl/checkpoint/progress.hpp"
#include "ivl/serve/options.hpp"

/// The line is written on terminals alone. Quiet: nothing is.
class StatusLine {
 public:
  explicit StatusLine(bool quiet = false) : quiet_(quiet), on_terminal_(!quiet && isatty(2) == 1) {}
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

  bool quiet() const { return quiet_; }
  /// A line that stays.
  void say(const std::string& text) {
    clear();
    if (!quiet_) std::fprintf(stderr, "%s\n", text.c_str());
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
  const bool quiet_, on_terminal_;
  std::string shown_;
};
