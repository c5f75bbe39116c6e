// chat with lines from a pipe, and on a terminal.
#include <pty.h>
#include <signal.h>
#include <sys/select.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "examples/typed_path.hpp"
#include "ivl/files/json.hpp"
#include "tests/programs/run.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const std::string question = "How many red circles are there?";

/// chat on a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::string& flags) {
    child_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      execl("/bin/sh", "sh", "-c", ("cd " IVL_SOURCE_DIR " && TERM=xterm exec " IVL_BIN_DIR "/chat" + flags).c_str(),
            nullptr);
      _exit(127);
    }
  }
  ~Terminal() {
    if (child_ > 0) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
    close(terminal_);
  }

  void type(const std::string& text) { REQUIRE(write(terminal_, text.data(), text.size()) == std::ssize(text)); }
  /// Reads until `text` appears behind what was read before; false if the program ends first or takes a minute.
  bool wait_for(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
      if (const auto at = seen_.find(text, read_); at != seen_.npos) {
        read_ = at + text.size();
        return true;
      }
      fd_set ready;
      FD_ZERO(&ready);
      FD_SET(terminal_, &ready);
      timeval wait{.tv_sec = 1, .tv_usec = 0};
      if (select(terminal_ + 1, &ready, nullptr, nullptr, &wait) <= 0) continue;
      char buffer[4096];
      const auto bytes = ::read(terminal_, buffer, sizeof buffer);
      if (bytes <= 0) return false;
      seen_.append(buffer, std::size_t(bytes));
    }
    return false;
  }
  /// -1 if it has not ended after a minute.
  int exit_code() {
    int status = 0;
    for (int waits = 0; waitpid(child_, &status, WNOHANG) == 0; ++waits) {
      if (waits == 6000) return -1;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    child_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const std::string& seen() const { return seen_; }

 private:
  pid_t child_ = 0;
  int terminal_ = -1;
  std::string seen_;
  std::size_t read_ = 0;
};

}  // namespace

TEST_CASE("a path may be typed, quoted, escaped, dragged or with blanks behind it") {
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  CHECK(typed_path(" a.png \r") == "a.png");
  CHECK(typed_path("'a b.png' ") == "a b.png");
  CHECK(typed_path("\"a b.png\"") == "a b.png");
  CHECK(typed_path("a\\ b\\(1\\).png") == "a b(1).png");
  CHECK(typed_path("file:///a%20b.png") == "/a b.png");
  CHECK(typed_path("file://host/a%2.png") == "/a%2.png");
  CHECK(typed_path("~/a.png") == home + "/a.png");
  CHECK(typed_path("~a.png") == "~a.png");
  CHECK(typed_path("") == "");
  CHECK(typed_path("'") == "'");
  const auto odd = work_folder() / "odd\\ name";
  std::ofstream(odd) << "x";
  CHECK(typed_path(odd.string()) == odd.string());
}

TEST_CASE("lines from a pipe: Windows line ends, quotes and blanks") {
  const Ran plain = run("chat" + toy, "/image " + demo + "balloons.png\n" + question + "\n");
  CHECK(plain.code == 0);
  REQUIRE(contains(plain.out, "3"));
  for (const std::string& path :
       {demo + "balloons.png\r", '"' + demo + "balloons.png\"  \r", "./" + demo + "balloons.png"}) {
    CAPTURE(path);
    const Ran other = run("chat" + toy, "/image " + path + "\n" + question + "\r\n/quit\r\n" + question + "\n");
    CHECK(other.code == 0);
    CHECK(other.out == plain.out);
  }
  const Ran dragged = run("chat" + toy, "'" IVL_SOURCE_DIR "/" + demo + "balloons.png'\n" + question);  // no line end
  CHECK(dragged.code == 0);
  CHECK(dragged.out == plain.out);
}

TEST_CASE("a question whose picture failed is not answered, and a script learns of it") {
  const Ran lost =
      run("chat" + toy, "/image nowhere.png\n" + question + "\n/image " + demo + "balloons.png\n" + question + "\n");
  CHECK(lost.code == 1);
  CHECK(contains(lost.err, "nowhere.png"));
  CHECK(contains(lost.err, "the question was not asked"));
  CHECK(std::count(lost.out.begin(), lost.out.end(), '\n') == 1);
  CHECK(run("chat" + toy, "/nonsense\n").code == 1);
}

TEST_CASE("a conversation whose answers arrive nowhere ends at the first") {
  const Ran lost = run("chat" + toy + " --stats >/dev/full", question + "\n" + question + "\n");
  CHECK(lost.code == 1);
  CHECK(contains(lost.err, "error: standard output: cannot write"));
  CHECK(!contains(lost.err, "tiles 0 in"));  // no statistics, since there was no whole answer
}

TEST_CASE("a conversation can be cut back, and saved") {
  const std::string picture = "/image " + demo + "balloons.png\n", other = "/image " + demo + "hill.png\n";
  const std::string ask = question + "\n";
  const std::string first = run("chat" + toy, picture + ask).out;
  const std::string second = run("chat" + toy, other + ask).out;
  CHECK(run("chat" + toy, picture + ask + "/clear\n" + other + ask).out == first + second);
  CHECK(run("chat" + toy, picture + ask + "/undo\n" + other + ask).out == first + second);
  CHECK(run("chat" + toy, picture + ask + "/cut\n" + other + ask).out == first + second);
  CHECK(run("chat" + toy, "/undo\n/cut\n/clear\n/help\n" + picture + ask).out == first);

  const std::string file = (work_folder() / "saved.json").string();
  const Ran saved = run("chat" + toy, other + ask + "/undo\n" + picture + ask + "What?\n/save " + file + "\n");
  CHECK(saved.code == 0);
  const Json turns = parse_json(text_of(file), "saved");
  REQUIRE(turns.size() == 2);
  CHECK(turns[0]["images"] == Json::array({demo + "balloons.png"}));
  CHECK(turns[0]["answer"].get<std::string>() + "\n" == first);
  CHECK(contains(turns[0]["question"].get<std::string>(), question));
  CHECK(turns[1]["images"].empty());
  CHECK(run("chat" + toy, "/save /dev/full\n").code == 1);
}

TEST_CASE("a saved conversation goes on where it ended, and one that is not as it was is refused") {
  const std::string picture = "/image " + demo + "balloons.png\n", other = "/image " + demo + "hill.png\n";
  const std::string file = (work_folder() / "goes_on.json").string(), follow = "What color are they?\n";
  for (const std::string flags : {"", " --system 'Be brief.'", " --combined"}) {
    CAPTURE(flags);
    const std::string begin = picture + other + question + "\n" + "/save " + file + "\n";
    const std::string whole = run("chat" + toy + flags, begin + follow).out;
    const std::string first = run("chat" + toy + flags, begin).out;
    const std::string rest = run("chat" + toy + " --json", question + "\n/load " + file + "\n" + follow).out;
    const Json answer = parse_json(rest.substr(rest.find('\n')), "answer");
    CHECK(first + answer["text"].get<std::string>() + "\n" == whole);
    // The prompt is that of the whole conversation, with its system message and its marks.
    const std::string all = run("chat" + toy + flags + " --json", begin + follow).out;
    CHECK(answer["prompt_tokens"] == parse_json(all.substr(all.find('\n')), "all")["prompt_tokens"]);
  }

  const std::string ask = picture + question + "\n";
  const std::string answers = run("chat" + toy, ask + follow).out;
  const auto refused = [&](const std::string& load) {
    const Ran ran = run("chat" + toy, ask + load + follow);
    CHECK(ran.code == 1);
    CHECK(ran.out == answers);  // nothing of the conversation is lost
    return ran.err;
  };
  CHECK(contains(refused("/load\n"), "/load: expected a file, found none"));
  CHECK(contains(refused("/load nowhere.json\n"), "nowhere.json"));
  const std::string saved = text_of(file);
  const auto load = [&](const std::string& from, const std::string& to) {
    const std::size_t at = saved.find(from);
    REQUIRE(at != saved.npos);
    const auto changed = work_folder().write("changed.json", std::string(saved).replace(at, from.size(), to));
    return "/load " + changed.string() + "\n";
  };
  CHECK(
      contains(refused(load("hill.png", "cafe.png")), "entry 1: " + demo + "cafe.png: expected the picture that was "));
  CHECK(contains(refused(load("hill.png", "none.png")), "none.png"));
  CHECK(contains(refused(load("\"answer\"", "\"reply\"")), "entry 1: answer: expected a value, found none"));
  CHECK(contains(refused(load("<image>", "")), "images, but 0 <image> marks"));
  CHECK(contains(refused(load("\"question\"", "\"quest")), "not valid JSON"));
}

TEST_CASE("a question that is refused leaves the conversation, and the pictures that wait, as they were") {
  const std::string picture = "/image " + demo + "balloons.png\n", ask = question + "\n";
  const Ran wrong = run("chat" + toy, picture + "<image> or <image>?\ncaf\xe9?\n" + ask);
  CHECK(wrong.code == 1);
  CHECK(contains(wrong.err, "error: prompt: 1 images, but 2 <image> marks in the question and its history"));
  CHECK(contains(wrong.err, "error: question: expected UTF-8, found 'caf\\xe9?'"));
  CHECK(wrong.out == run("chat" + toy, picture + ask).out);

  // Room for the first question and no more; the second finds some where the first is forgotten.
  const std::string follow = "What color are they, if there are any of them here at all?\n";
  const Ran full = run("chat" + toy + " --context 80 --max-new-tokens 8", picture + ask + follow + "/cut\n" + follow);
  CHECK(full.code == 1);
  CHECK(contains(full.err, "room for 80. --max-tiles N"));
  CHECK(full.out == run("chat" + toy + " --max-new-tokens 8", picture + ask + "/clear\n" + follow).out);
}

TEST_CASE("a question may have several lines") {
  const std::string two = demo + "shelf_one.png\n/image " + demo + "shelf_two.png\n";
  const std::string marked = "Image-1: <image>\\\nImage-2: <image>\\\r\nWhich picture has more squares?\n";
  CHECK(run("chat" + toy, "/image " + two + marked).out == "the first\n");
  CHECK(run("chat" + toy + " --json", "Hi\\").out.starts_with("{\"question\":\"Hi\\n\""));  // the end of input
}

TEST_CASE("on a terminal Ctrl-C at the prompt ends only when it comes twice") {
  Terminal terminal(toy);
  REQUIRE(terminal.wait_for("> "));
  terminal.type("\x03");
  REQUIRE(terminal.wait_for("another Ctrl-C ends"));
  REQUIRE(terminal.wait_for("> "));
  terminal.type("/image " + demo + "balloons.png\r");
  REQUIRE(terminal.wait_for("tiles"));
  terminal.type(question + "\r");
  REQUIRE(terminal.wait_for("> "));
  terminal.type("/help\r");
  REQUIRE(terminal.wait_for("/cut"));
  terminal.type("/exit\r");
  CHECK(terminal.exit_code() == 0);
  CHECK(contains(terminal.seen(), "loading: "));

  Terminal twice(toy);
  REQUIRE(twice.wait_for("> "));
  twice.type("\x03");
  REQUIRE(twice.wait_for("another Ctrl-C ends"));
  twice.type("\x03");
  CHECK(twice.exit_code() == 130);
}

#ifdef IVL_LIBEDIT
TEST_CASE("on a terminal a line is edited, and earlier ones come back with the up arrow") {
  Terminal terminal(toy + " --json");
  REQUIRE(terminal.wait_for("> "));
  terminal.type("W\xc3\xa9lche colour?\x01\x0b");     // to the begin of the line, and all behind it gone
  terminal.type("What colo\xc3\xbc\x7fur is it?\r");  // a character of two bytes, taken back
  REQUIRE(terminal.wait_for("\"question\":\"What colour is it?\""));
  REQUIRE(terminal.wait_for("> "));
  terminal.type("And now?\r");
  REQUIRE(terminal.wait_for("\"question\":\"And now?\""));
  REQUIRE(terminal.wait_for("> "));
  terminal.type("\x1b[A\x1b[A\r");
  REQUIRE(terminal.wait_for("\"question\":\"What colour is it?\""));
  REQUIRE(terminal.wait_for("> "));
  terminal.type("half a line\x03");  // Ctrl-C drops it
  REQUIRE(terminal.wait_for("another Ctrl-C ends"));
  REQUIRE(terminal.wait_for("> "));
  terminal.type("/exit\r");
  CHECK(terminal.exit_code() == 0);
}
#endif
