// Serves a checkpoint to OpenAI's clients: what is served, refused and promised is in docs/serving.md.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include "command_line.hpp"
#include "ivl/http/fetch.hpp"
#include "ivl/http/keys.hpp"
#include "ivl/http/server.hpp"
#include "ivl/openai/api.hpp"
#include "ivl/serve/service.hpp"
#include "page.hpp"

/// Its last part, without the ending of a file.
static std::string name_of(const std::string& checkpoint) {
  const std::filesystem::path path = std::filesystem::absolute(checkpoint).lexically_normal();
  const std::filesystem::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  return last.extension() == ".gguf" ? last.stem().string() : last.string();
}

/// The first SIGTERM or SIGINT is waited for; the next one ends the program in the system's own way.
class EndSignal {
 public:
  EndSignal() {
    if (pipe2(pipe_, O_CLOEXEC) != 0) ivl::fail<ivl::Error>("signals: cannot make a pipe");
    for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, tell);
  }
  void wait() {
    char byte;
    while (read(pipe_[0], &byte, 1) < 0) {  // interrupted
    }
  }

 private:
  static void tell(int) {
    for (const int signal : {SIGTERM, SIGINT}) std::signal(signal, SIG_DFL);
    [[maybe_unused]] const auto written = write(pipe_[1], "", 1);
  }
  static inline int pipe_[2];
};

/// Before what answers requests goes, none comes any more, and those of clients that are gone have ended.
struct StopsAtEnd {
  ivl::http::Server& server;
  ivl::Service& service;
  ~StopsAtEnd() {
    server.stop();
    service.drain();
  }
};

int main(int argc, char** argv) {
  CLI::App app(
      "Serves a checkpoint by OpenAI's HTTP interface, with a page at /. Prints \"listening on http://HOST:PORT\" once "
      "it answers; SIGTERM and SIGINT let it finish what it has accepted, a second one ends it.");
  app.footer("Exit codes: 0 ended by a signal after the last answer, 1 an error (one line on stderr), 2 wrong flags.");
  std::string checkpoint = IVL_TOY, device = "cpu", key_file, name;
  LoadFlags load;
  ivl::http::ServerOptions http{.port = 8000};
  ivl::ServiceOptions service_options{.engine = {.kv_tokens = 32768, .max_sequences = 8, .step_ms = 200}};
  ivl::http::FetchOptions fetch_options;
  int threads = ivl::usable_cpus();
  bool quiet = false;
  app.add_option(
      "--checkpoint", checkpoint,
      "folder of a published checkpoint, or a GGUF file (default: the bundled toy, which knows drawn scenes)");
  load.add_to(app);
  app.add_option("--host", http.host, "address to listen on; 0.0.0.0 and :: are all of the machine's")
      ->capture_default_str();
  app.add_option("--port", http.port, "0 takes a free one")->capture_default_str();
  app.add_option("--api-key-file", key_file,
                 "a key a line, one of which clients have to show (default: anybody may ask)");
  app.add_option("--allow-media-domain", fetch_options.hosts,
                 "a host, or host:port, whose pictures may be asked about by their https addresses; repeat for several "
                 "(default: pictures come in data: URLs alone)");
  app.add_option("--served-name", name, "of the model, for clients (default: the name of the folder or file)");
  app.add_option("--max-sequences", service_options.engine.max_sequences,
                 "answers that are written together; four times as many wait, more are told to come again")
      ->capture_default_str()
      ->check(CLI::Range(1, 512));
  app.add_option("--kv-tokens", service_options.engine.kv_tokens,
                 "room for all conversations, in tokens; one may have all of it, up to the model's context")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--step-ms", service_options.engine.step_ms,
                 "goal for the time between two tokens of an answer, whatever prompts and pictures wait; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--draft-tokens", service_options.engine.draft_tokens,
                 "most tokens that are guessed ahead where an answer repeats what is in its conversation")
      ->capture_default_str()
      ->check(CLI::Range(0, 64));
  app.add_option("--device", device, "cpu or cuda")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", threads, "CPU threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_flag("--quiet", quiet, "nothing on stderr but errors");

  return run_program(app, argc, argv, [&] {
    std::signal(SIGPIPE, SIG_IGN);
    const auto log = [](std::string_view line) { std::fprintf(stderr, "%.*s\n", int(line.size()), line.data()); };
    ivl::http::ApiKeys keys;
    if (!key_file.empty()) keys = ivl::http::ApiKeys::read(key_file);
    ivl::openai::FetchPicture fetch;
    if (!fetch_options.hosts.empty()) {
      const auto fetcher = std::make_shared<const ivl::http::Fetcher>(fetch_options);
      fetch = [fetcher](const std::string& url) { return fetcher->fetch(url).bytes; };
    }
    if (name.empty()) name = checkpoint == IVL_TOY ? "drawn_scenes" : name_of(checkpoint);

    // Clients may come while the model is read: they are told to wait.
    std::atomic<ivl::openai::Api*> ready{nullptr};
    http.log = log;
    ivl::http::Server server(http, [&ready](ivl::http::Request request, std::shared_ptr<ivl::http::Responder> to) {
      if (ivl::openai::Api* api = ready)
        (*api)(std::move(request), to);
      else
        ivl::openai::answer_while_loading(request, *to);
    });
    StatusLine status(quiet);
    if (!quiet) print_notes(checkpoint, load.mmproj);
    std::string about;
    const ModelChoice choice{
        .checkpoint = checkpoint, .threads = threads, .kv_tokens = service_options.engine.kv_tokens};
    const ivl::AnyModel model = (device == "cuda" ? open_on_cuda : open_on_cpu)(choice, load.options(status), about);
    status.say(name + ", " + about);

    ivl::Service service(model.runner(), service_options);
    ivl::openai::Api api(service, model.processor(),
                         {.name = name,
                          .keys = std::move(keys),
                          .fetch = std::move(fetch),
                          .page = std::string(page_html),
                          .page_policy = std::string(page_policy),
                          .log = log});
    const StopsAtEnd stops{server, service};
    ready = &api;
    EndSignal signal;
    const bool ipv6 = http.host.find(':') != std::string::npos;
    print_text("listening on http://" + (ipv6 ? "[" + http.host + "]" : http.host) + ":" +
               std::to_string(server.port()) + "\n");
    signal.wait();
    status.say("answering what was accepted; a second signal ends this");
    server.drain(std::chrono::hours(24 * 365));
  });
}
