// What the server's connections share: the loop that touches sockets, the workers, and the answers' way between them.
#pragma once
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/http/server.hpp"

namespace ivl::http::detail {

namespace asio = boost::asio;

class Connection;

/// The io_context, which answers may outlive: what they post after its end is dropped.
class Loop {
 public:
  template <class Action>
  void post(Action action) {
    const std::lock_guard lock(mutex_);
    if (context_) asio::post(*context_, std::move(action));
  }

  asio::io_context& context() { return *context_; }

  /// After its thread has ended. Whatever waits in it is destroyed.
  void close() {
    std::unique_lock lock(mutex_);
    std::unique_ptr<asio::io_context> context = std::move(context_);
    lock.unlock();
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<asio::io_context> context_ = std::make_unique<asio::io_context>(1);
};

/// The answer to one request, as its handler sees it. Everything is passed on to the loop, where the connection is, if
/// it is still there and still at that request.
class Answer final : public Responder {
 public:
  Answer(std::shared_ptr<Loop> loop, std::weak_ptr<Connection> connection, std::uint64_t request)
      : loop_(std::move(loop)), connection_(std::move(connection)), request_(request) {}
  ~Answer() override;

  void send(int status, std::string_view content_type, std::string body, Fields fields) override;
  void begin(int status, std::string_view content_type, Fields fields) override;
  void write(std::string part) override;
  void end() override;
  void when_gone(std::function<void()> action) override;
  void when_backlog(std::function<void(bool full)> action) override;

  /// Nobody will answer any more.
  void give_up();

 private:
  template <class Action>
  void post(Action action);

  std::shared_ptr<Loop> loop_;
  std::weak_ptr<Connection> connection_;
  std::uint64_t request_;
  std::atomic<bool> ended_ = false;
};

/// Threads that run the handler.
class Workers {
 public:
  Workers(int number, Handler handler, std::function<void(std::string_view)> log)
      : handler_(std::move(handler)), log_(std::move(log)) {
    for (int i = 0; i < number; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Workers() { stop(); }

  void add(Request request, std::shared_ptr<Answer> answer) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back({std::move(request), std::move(answer)});
    }
    changed_.notify_one();
  }

  /// What has not begun is dropped.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    tasks_.clear();
  }

 private:
  struct Task {
    Request request;
    std::shared_ptr<Answer> answer;
  };

  void work() {
    while (std::optional<Task> task = next()) {
      try {
        handler_(std::move(task->request), task->answer);
      } catch (const std::exception& error) {
        log_(std::string("http: a handler failed: ") + error.what());
        task->answer->give_up();
      } catch (...) {
        log_("http: a handler failed");
        task->answer->give_up();
      }
    }
  }

  std::optional<Task> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
    if (stopped_) return std::nullopt;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

  Handler handler_;
  std::function<void(std::string_view)> log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

/// For the loop's thread alone, but for `open`.
struct Shared {
  ~Shared() { loop->close(); }  // what waits there names connections, and those name this

  ServerOptions options;
  std::shared_ptr<Loop> loop = std::make_shared<Loop>();
  std::optional<Workers> workers = {};
  std::unordered_set<std::shared_ptr<Connection>> connections = {};
  std::function<void()> connection_closed = {};
  bool draining = false;
  std::size_t bodies_bytes = 0;
  std::array<char, 64 << 10> received = {};  // where every connection reads: an idle one needs no buffer
  std::atomic<int> open = 0;
};

/// Throws Error for a field that would not be sent as it is.
inline void check_field(std::string_view name, std::string_view value) {
  const auto is_token = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  const auto is_text = [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); };
  bool good = !name.empty();
  for (const char c : name) good &= is_token(c);
  for (const char c : value) good &= is_text(c);
  if (!good)
    fail<Error>("http: the field ", in_quotes(name), ": ", in_quotes(value), " has characters that no field may have");
}

}  // namespace ivl::http::detail
