// A server whose answers a test writes by hand.
#pragma once
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/http/server.hpp"
#include "tests/http/raw_client.hpp"

namespace ivl::test {

/// Waits until it is so; false if it is not in time.
template <class Condition>
bool soon(const Condition& condition, Milliseconds at_most = long_enough) {
  const auto end = Clock::now() + at_most;
  while (!condition()) {
    if (Clock::now() > end) return false;
    ::usleep(1000);
  }
  return true;
}

struct Held {
  http::Request request;
  std::shared_ptr<http::Responder> responder;
};

/// Answers /echo, /throw, /drop and /parts by itself, and keeps what else is asked for the test.
class TestServer {
 public:
  explicit TestServer(http::ServerOptions options = {}) : server_(with_log(options), handler()) {}

  http::Server& server() { return server_; }
  std::uint16_t port() const { return server_.port(); }
  RawClient client(int receive_buffer_bytes = 0) { return RawClient(port(), receive_buffer_bytes); }

  /// The next request that waits for an answer.
  Held next() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, long_enough, [this] { return !held_.empty(); }));
    Held result = std::move(held_.front());
    held_.pop_front();
    return result;
  }
  /// Drops the requests that wait.
  void forget() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }
  int handled() const { return handled_; }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

 private:
  http::ServerOptions with_log(http::ServerOptions options) {
    if (options.workers == 0) options.workers = 2;
    options.log = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      (log_ += line) += '\n';
    };
    return options;
  }

  http::Handler handler() {
    return [this](http::Request request, std::shared_ptr<http::Responder> responder) {
      ++handled_;
      if (request.path == "/echo") {
        std::string text = request.method + " " + request.path + "?" + request.query + "\n";
        for (const auto& [name, value] : request.fields) text += name + "=" + value + "\n";
        responder->send(200, "text/plain", text + "\n" + request.body,
                        {{"X-Body-Bytes", std::to_string(request.body.size())}});
      } else if (request.path == "/throw") {
        throw std::runtime_error("secret 0x7ffe");
      } else if (request.path == "/parts") {
        responder->begin(200, "text/event-stream");
        for (int i = 0; i < 3; ++i) responder->write("data: " + std::to_string(i) + "\n\n");
        responder->end();
      } else if (request.path != "/drop") {
        const std::lock_guard lock(mutex_);
        held_.push_back({std::move(request), std::move(responder)});
        changed_.notify_all();
      }
    };
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Held> held_;
  std::atomic<int> handled_ = 0;
  std::string log_;
  http::Server server_;  // the last to be made, the first to go
};

}  // namespace ivl::test
