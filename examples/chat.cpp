// A conversation in the terminal, or with lines from a pipe.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "command_line.hpp"
#include "ivl/files/json.hpp"
#include "typed_path.hpp"

static constexpr const char* help =
    "A line is a question. Ctrl-C stops the answer.\n"
    "/image FILE  adds a picture to the next question; a picture dragged into the terminal does the same\n"
    "/undo        forgets the last question and its answer\n"
    "/cut         forgets the oldest question, for room\n"
    "/clear       forgets everything\n"
    "/save FILE   writes the conversation as JSON\n"
    "/exit        ends, as /quit and the end of input do\n";

static std::atomic<bool> interrupted{false};
static int wake_pipe[2];  // a signal may come at any moment, also just before a read begins: it leaves a byte here

/// Reads lines from standard input. Ctrl-C ends a read and not the program.
class LineReader {
 public:
  LineReader() {
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) ivl::fail<ivl::Error>("chat: cannot make a pipe");
    struct sigaction action {};
    action.sa_handler = [](int) {
      interrupted = true;
      [[maybe_unused]] const auto written = write(wake_pipe[1], "", 1);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
  }

  /// What Ctrl-C said so far is done with.
  void forget_interrupt() {
    for (char byte; ::read(wake_pipe[0], &byte, 1) == 1;) {
    }
    interrupted = false;
  }

  enum class Got { line, interrupt, end };
  Got read(std::string& line) {
    while (buffer_.find('\n') == buffer_.npos) {
      pollfd ready[2] = {{0, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
      if (poll(ready, 2, -1) < 0) continue;
      if (ready[1].revents != 0) return Got::interrupt;
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
    while (!line.empty() && line.back() == '\r') line.pop_back();
    return Got::line;
  }

 private:
  std::string buffer_;
};

/// The conversation, and the pictures that wait for the next question.
class Conversation {
 public:
  Conversation(ivl::Chat& chat, const ivl::Processor& processor, const PictureFlags& flags,
               const SamplingFlags& sampling, StatusLine& status, bool stats)
      : chat_(chat), processor_(processor), flags_(flags), sampling_(sampling), status_(status), stats_(stats) {}

  /// A question or a command. Returns false at the end.
  bool take(const std::string& line) {
    const auto [command, rest] = split(line);
    if (command == "/exit" || command == "/quit") return false;
    if (command == "/image") {
      add_picture(typed_path(rest));
    } else if (command == "/help") {
      std::fputs(help, stderr);
    } else if (command == "/clear") {
      forget(0, chat_.history().size());
    } else if (command == "/undo") {
      if (!chat_.history().empty()) forget(chat_.history().size() - 1, 1);
    } else if (command == "/cut") {
      if (!chat_.history().empty()) forget(0, 1);
    } else if (command == "/save") {
      save(typed_path(rest));
    } else if (const std::string path = typed_path(line); is_file(path)) {
      add_picture(path);
    } else if (line.starts_with('/')) {
      ivl::fail<ivl::RequestError>("expected a question or a command (/help lists them), found ", command);
    } else if (!command.empty()) {
      question(line);
    }
    return true;
  }

 private:
  static std::pair<std::string, std::string> split(const std::string& line) {
    const auto first = line.find_first_not_of(" \t");
    if (first == line.npos) return {};
    const auto end = std::min(line.find_first_of(" \t", first), line.size());
    return {line.substr(first, end - first), line.substr(end)};
  }
  static bool is_file(const std::string& path) {
    std::error_code ignored;
    return (path.starts_with('/') || path.starts_with('.')) && std::filesystem::is_regular_file(path, ignored);
  }

  void add_picture(const std::string& path) {
    if (path.empty()) ivl::fail<ivl::RequestError>("/image: expected a file, found none");
    lost_picture_ = true;  // until it is there
    pictures_.push_back(flags_.open(path, processor_, chat_.tile_rules()));
    lost_picture_ = false;
    print_grid(path, pictures_.back());
    waiting_paths_.push_back(path);
  }

  void forget(std::size_t first, std::size_t count) {
    chat_.forget(first, count);
    const auto begin = paths_.begin() + std::ptrdiff_t(first);
    paths_.erase(begin, begin + std::ptrdiff_t(count));
  }

  void question(const std::string& line) {
    if (std::exchange(lost_picture_, false))
      ivl::fail<ivl::RequestError>(
          "the question was not asked, since a picture for it could not be opened; ask again to go on without that "
          "picture");
    try {
      ask(chat_, line, pictures_, sampling_, status_, &interrupted);
    } catch (const ivl::RequestError&) {
      throw;  // a shorter question may do
    } catch (const ivl::Error&) {
      pictures_.clear();  // one of them, mostly: its file is damaged, or has changed
      waiting_paths_.clear();
      throw;
    }
    if (stats_) print_statistics(chat_.statistics());
    if (chat_.finish() == ivl::Finish::cancelled && chat_.statistics().new_tokens == 0) return;  // never began
    paths_.push_back(std::exchange(waiting_paths_, {}));
    pictures_.clear();
  }

  void save(const std::string& path) const {
    if (path.empty()) ivl::fail<ivl::RequestError>("/save: expected a file, found none");
    nlohmann::ordered_json turns = nlohmann::ordered_json::array();
    for (std::size_t turn = 0; turn < paths_.size(); ++turn) {
      const auto& [question, answer] = chat_.history()[turn];
      turns.push_back({{"question", question}, {"images", paths_[turn]}, {"answer", answer}});
    }
    std::ofstream file(path);
    file << turns.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
    file.close();
    if (!file) ivl::fail<ivl::FileError>(path, ": cannot write: ", std::generic_category().message(errno));
  }

  ivl::Chat& chat_;
  const ivl::Processor& processor_;
  const PictureFlags& flags_;
  const SamplingFlags& sampling_;
  StatusLine& status_;
  const bool stats_;
  std::vector<ivl::Picture> pictures_;
  std::vector<std::string> waiting_paths_;
  std::vector<std::vector<std::string>> paths_;  ///< of each turn's pictures
  bool lost_picture_ = false;
};

int main(int argc, char** argv) {
  CLI::App app(std::string("Chats about pictures.\n") + help);
  ModelFlags model;
  SamplingFlags sampling;
  bool stats = false;
  model.add_to(app);
  sampling.add_to(app, model.chat);
  app.add_flag("--stats", stats, "print where the time of each answer went");

  return run_program(app, argc, argv, [&] {
    StatusLine status;
    const ivl::AnyModel opened = open_model(model, status);
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    Conversation conversation(chat, opened.processor(), model.pictures, sampling, status, stats);
    const bool typed = isatty(0) == 1;
    LineReader reader;
    std::string line;
    int code = 0;
    reader.forget_interrupt();
    for (bool asked_to_end = false;;) {
      if (typed) std::fputs("> ", stderr);
      const LineReader::Got got = reader.read(line);
      if (got == LineReader::Got::end) break;
      if (got == LineReader::Got::interrupt) {
        if (!typed || asked_to_end) return 130;
        reader.forget_interrupt();  // before the words that invite another
        std::fputs("\n(/exit or another Ctrl-C ends)\n", stderr);
        asked_to_end = true;
        continue;
      }
      asked_to_end = false;
      // A bad picture or question costs that turn only; a script learns of it by the exit code.
      try {
        if (!conversation.take(line)) break;
      } catch (const ivl::Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        code = 1;
      }
      reader.forget_interrupt();  // the one that stopped an answer
    }
    return typed ? 0 : code;
  });
}
