// Lines from standard input, where Ctrl-C ends a read and not the program. On a terminal they can be edited, and
// earlier ones come back with the up arrow, where libedit is there (IVL_LIBEDIT).
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>

#include "ivl/core/error.hpp"
#ifdef IVL_LIBEDIT
#include <histedit.h>
#include <langinfo.h>

#include <clocale>
#include <cwchar>
#include <string_view>
#endif

/// Set by Ctrl-C. A signal may come at any moment, also just before a read begins: it leaves a byte in the pipe.
inline std::atomic<bool> interrupted{false};
inline int wake_pipe[2];

/// Waits for input. Returns whether Ctrl-C came first.
inline bool interrupted_before_input() {
  pollfd ready[2] = {{0, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
  while (poll(ready, 2, -1) < 0) {
  }
  return ready[1].revents != 0;
}

#ifdef IVL_LIBEDIT
/// The terminal's line as libedit lets it be edited.
class LineEditor {
 public:
  explicit LineEditor(const char* prompt) : prompt_(prompt) {
    // It knows characters by the locale; where that has no UTF-8, what is typed mostly is UTF-8 all the same.
    if (!setlocale(LC_CTYPE, "") || std::string_view(nl_langinfo(CODESET)) != "UTF-8") setlocale(LC_CTYPE, "C.UTF-8");
    el_set(editor_.get(), EL_CLIENTDATA, this);
    el_set(
        editor_.get(), EL_PROMPT, +[](EditLine* editor) { return const_cast<char*>(self(editor).prompt_); });
    el_set(editor_.get(), EL_EDITOR, "emacs");
    el_set(
        editor_.get(), EL_GETCFN, +[](EditLine* editor, wchar_t* c) { return self(editor).get(*c); });
    el_set(editor_.get(), EL_HIST, history, history_.get());
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, 1000);
    history(history_.get(), &event, H_SETUNIQUE, 1);
  }

  /// The line with its end; empty at the end of input and where Ctrl-C came first.
  std::string read() {
    el_resize(editor_.get());
    el_set(editor_.get(), EL_PREP_TERM, 1);  // before the prompt, not behind it: who types at once is edited too
    int bytes = 0;
    const char* typed = el_gets(editor_.get(), &bytes);
    if (!typed || bytes <= 0) return "";
    const std::string line(typed, std::size_t(bytes));
    HistEvent event;
    if (line.find_first_not_of(" \t\r\n") != line.npos) history(history_.get(), &event, H_ENTER, line.c_str());
    return line;
  }

 private:
  static LineEditor& self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<LineEditor*>(data);
  }
  /// As libedit's own: 1 for a character, 0 at the end of input, -1 where there is none.
  int get(wchar_t& c) {
    for (std::mbstate_t state{};;) {
      char byte;
      if (interrupted_before_input()) return -1;
      const auto number = ::read(0, &byte, 1);
      if (number <= 0) return int(number);
      const auto used = std::mbrtowc(&c, &byte, 1, &state);
      if (used == std::size_t(-2)) continue;  // a character of several bytes
      if (used == std::size_t(-1)) c = L'\xfffd';
      return 1;
    }
  }

  const char* const prompt_;
  std::unique_ptr<EditLine, void (*)(EditLine*)> editor_{el_init("chat", stdin, stderr, stderr), el_end};
  std::unique_ptr<History, void (*)(History*)> history_{history_init(), history_end};
};
#endif

class LineReader {
 public:
  explicit LineReader(const char* prompt) : prompt_(prompt), typed_(isatty(0) == 1) {
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) ivl::fail<ivl::Error>("chat: cannot make a pipe");
    struct sigaction action {};
    action.sa_handler = [](int) {
      interrupted = true;
      [[maybe_unused]] const auto written = write(wake_pipe[1], "", 1);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
#ifdef IVL_LIBEDIT
    if (typed_ && isatty(2) == 1) editor_ = std::make_unique<LineEditor>(prompt);
#endif
  }

  /// Whether somebody sits at a terminal. The prompt is shown to him alone.
  bool typed() const { return typed_; }

  /// What Ctrl-C said so far is done with.
  void forget_interrupt() {
    for (char byte; ::read(wake_pipe[0], &byte, 1) == 1;) {
    }
    interrupted = false;
  }

  enum class Got { line, interrupt, end };
  /// A line, or several: a backslash at the end of one joins the next to it.
  Got read(std::string& text) {
    text.clear();
    for (std::string line;;) {
      const Got got = read_line(line);
      if (got == Got::interrupt || (got == Got::end && text.empty())) return got;
      if (got == Got::end) return Got::line;
      text += line;
      if (!text.ends_with('\\')) return Got::line;
      text.back() = '\n';
    }
  }

 private:
  Got read_line(std::string& line) {
#ifdef IVL_LIBEDIT
    if (editor_) {
      line = editor_->read();
      if (interrupted) return Got::interrupt;
      if (line.empty()) return Got::end;
      cut_end(line);
      return Got::line;
    }
#endif
    if (typed_) std::fputs(prompt_, stderr);
    while (buffer_.find('\n') == buffer_.npos) {
      if (interrupted_before_input()) return Got::interrupt;
      char bytes[4096];
      const auto number = ::read(0, bytes, sizeof bytes);
      if (number > 0) {
        buffer_.append(bytes, std::size_t(number));
      } else if (buffer_.empty()) {
        return Got::end;
      } else {
        buffer_ += '\n';  // the last line may have no end
      }
    }
    const auto end = buffer_.find('\n');
    line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    cut_end(line);
    return Got::line;
  }

  static void cut_end(std::string& line) {
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  }

  const char* const prompt_;
  const bool typed_;
  std::string buffer_;
#ifdef IVL_LIBEDIT
  std::unique_ptr<LineEditor> editor_;
#endif
};
