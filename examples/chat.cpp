// A conversation in the terminal, or with lines from a pipe.
#include "command_line.hpp"
#include "line_reader.hpp"
#include "saved_chat.hpp"
#include "typed_path.hpp"

static constexpr const char* help =
    "A line is a question; with a backslash at its end it goes on in the next. Ctrl-C stops the answer.\n"
    "/image FILE  adds a picture to the next question; a picture dragged into the terminal does the same\n"
    "/undo        forgets the last question and its answer\n"
    "/cut         forgets the oldest question, for room\n"
    "/clear       forgets everything\n"
    "/save FILE   writes the conversation as JSON\n"
    "/load FILE   goes on with a conversation that was saved, in the place of this one\n"
    "/exit        ends, as /quit and the end of input do\n";

/// The conversation, and the pictures that wait for the next question.
class Conversation {
 public:
  Conversation(ivl::Chat& chat, const ivl::Processor& processor, const ModelFlags& model, const SamplingFlags& sampling,
               const OutputFlags& output, StatusLine& status)
      : chat_(chat), processor_(processor), model_(model), sampling_(sampling), output_(output), status_(status) {}

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
    } else if (command == "/load") {
      load(typed_path(rest));
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
    waiting_.push_back({path, model_.pictures.open(path, processor_, chat_.tile_rules())});
    lost_picture_ = false;
    print_grid(status_, path, waiting_.back().picture);
  }

  void forget(std::size_t first, std::size_t count) {
    chat_.forget(first, count);
    const auto begin = shown_.begin() + std::ptrdiff_t(first);
    shown_.erase(begin, begin + std::ptrdiff_t(count));
  }

  void question(const std::string& line) {
    if (std::exchange(lost_picture_, false))
      ivl::fail<ivl::RequestError>(
          "the question was not asked, since a picture for it could not be opened; ask again to go on without that "
          "picture");
    try {
      std::vector<ivl::Picture> pictures;
      for (const ShownPicture& shown : waiting_) pictures.push_back(shown.picture);
      ask(chat_, line, std::move(pictures), model_, sampling_, output_, status_, &interrupted);
    } catch (const ivl::RequestError&) {
      throw;  // a shorter question may do
    } catch (const ivl::Error&) {
      waiting_.clear();  // one of them, mostly: its file is damaged, or has changed
      throw;
    }
    if (chat_.finish() == ivl::Finish::cancelled && chat_.statistics().new_tokens == 0) return;  // never began
    shown_.push_back(std::exchange(waiting_, {}));
  }

  void save(const std::string& path) const {
    if (path.empty()) ivl::fail<ivl::RequestError>("/save: expected a file, found none");
    SavedChat saved{.system = chat_.system(), .turns = {}};
    for (std::size_t turn = 0; turn < shown_.size(); ++turn)
      saved.turns.push_back({chat_.history()[turn], shown_[turn]});
    write_chat(path, saved);
  }

  /// Nothing is lost where it fails.
  void load(const std::string& path) {
    if (path.empty()) ivl::fail<ivl::RequestError>("/load: expected a file, found none");
    SavedChat saved = read_chat(path, model_.pictures, processor_, chat_.tile_rules());
    std::vector<ivl::Turn> history;
    std::vector<ivl::Picture> pictures;
    std::vector<std::vector<ShownPicture>> shown;
    for (SavedTurn& turn : saved.turns) {
      for (ivl::Picture& picture : turn.at_marks()) pictures.push_back(std::move(picture));
      history.push_back(std::move(turn.turn));
      shown.push_back(std::move(turn.shown));
    }
    naming_flags([&] { chat_.resume(std::move(saved.system), std::move(history), std::move(pictures)); });
    shown_ = std::move(shown);
    status_.say(path + ": " + std::to_string(shown_.size()) + " turns");
  }

  ivl::Chat& chat_;
  const ivl::Processor& processor_;
  const ModelFlags& model_;
  const SamplingFlags& sampling_;
  const OutputFlags& output_;
  StatusLine& status_;
  std::vector<ShownPicture> waiting_;
  std::vector<std::vector<ShownPicture>> shown_;  ///< in each turn
  bool lost_picture_ = false;
};

int main(int argc, char** argv) {
  CLI::App app(std::string("Chats about pictures.\n") + help);
  ModelFlags model;
  SamplingFlags sampling;
  OutputFlags output;
  model.add_to(app);
  model.pictures.add_combined_to(app);
  sampling.add_to(app, model.chat);
  output.add_to(app);

  return run_program(app, argc, argv, [&] {
    StatusLine status(model.quiet);
    const ivl::AnyModel opened = open_model(model, status);
    sampling.read_constraint(opened.processor().tokenizer());
    ivl::Chat chat(opened.runner(), opened.processor(), model.chat);
    Conversation conversation(chat, opened.processor(), model, sampling, output, status);
    LineReader reader("> ");
    std::string line;
    int code = 0;
    reader.forget_interrupt();
    for (bool asked_to_end = false;;) {
      const LineReader::Got got = reader.read(line);
      if (got == LineReader::Got::end) break;
      if (got == LineReader::Got::interrupt) {
        if (!reader.typed() || asked_to_end) return 130;
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
    return reader.typed() ? 0 : code;
  });
}
