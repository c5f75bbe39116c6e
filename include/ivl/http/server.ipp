// The bodies of server.hpp.
#pragma once
#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/http/server.hpp"

namespace ivl::http {

namespace detail {

// ---- an answer, on its way to the loop ---------------------------------------------------------------------------

template <class Action>
void Answer::post(Action action) {
  loop_->post([connection = connection_, action = std::move(action)]() mutable {
    if (const std::shared_ptr<Connection> there = connection.lock()) action(*there);
  });
}

IVL_INLINE Answer::~Answer() {
  if (!ended_) give_up();
}

IVL_INLINE void Answer::give_up() {
  post([request = request_](Connection& connection) { connection.give_up(request, failed); });
}

IVL_INLINE void Answer::send(int status, std::string_view content_type, std::string body, Fields fields) {
  for (const auto& [name, value] : fields) check_field(name, value);
  check_field("Content-Type", content_type);
  ended_ = true;
  post([=, request = request_, type = std::string(content_type), body = std::move(body), fields = std::move(fields)](
           Connection& connection) mutable { connection.send(request, status, type, std::move(body), fields); });
}

IVL_INLINE void Answer::begin(int status, std::string_view content_type, Fields fields) {
  for (const auto& [name, value] : fields) check_field(name, value);
  check_field("Content-Type", content_type);
  post([=, request = request_, type = std::string(content_type), fields = std::move(fields)](Connection& connection) {
    connection.begin(request, status, type, fields);
  });
}

IVL_INLINE void Answer::write(std::string part) {
  post([request = request_, part = std::move(part)](Connection& connection) { connection.write(request, part); });
}

IVL_INLINE void Answer::end() {
  ended_ = true;
  post([request = request_](Connection& connection) { connection.end(request); });
}

IVL_INLINE void Answer::when_gone(std::function<void()> action) {
  loop_->post([connection = connection_, request = request_, action = std::move(action)] {
    if (const std::shared_ptr<Connection> there = connection.lock()) {
      there->when_gone(request, action);
    } else if (action) {
      action();
    }
  });
}

IVL_INLINE void Answer::when_backlog(std::function<void(bool full)> action) {
  post([request = request_, action = std::move(action)](Connection& connection) {
    connection.when_backlog(request, action);
  });
}

}  // namespace detail

// ---- the server --------------------------------------------------------------------------------------------------

struct Server::Parts {
  using tcp = boost::asio::ip::tcp;
  static constexpr std::chrono::milliseconds retry_accept{100};

  Parts(const ServerOptions& options, Handler handler);
  ~Parts() { stop(); }

  void listen();
  void run();
  void accept();
  void add(tcp::socket socket);
  void stop_accepting();
  bool drain(std::chrono::milliseconds at_most);
  void stop();

  detail::Shared shared;
  boost::asio::io_context& context = shared.loop->context();
  tcp::acceptor acceptor{context};
  boost::asio::steady_timer accept_timer{context};
  std::uint16_t port = 0;
  bool accept_waits = false;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work;
  std::thread thread;

  std::mutex mutex;  // of these two, and of what `changed` is about
  std::condition_variable changed;
  bool draining = false, stopped = false;
  std::once_flag stop_once;
};

IVL_INLINE Server::Parts::Parts(const ServerOptions& options, Handler handler) {
  shared.options = options;
  if (!shared.options.log) {
    shared.options.log = [](std::string_view line) { std::fprintf(stderr, "%.*s\n", int(line.size()), line.data()); };
  }
  shared.connection_closed = [this] {
    { const std::lock_guard lock(mutex); }
    changed.notify_all();
    accept();
  };
  listen();
  int workers = options.workers;
  if (workers <= 0) workers = std::max(4, int(std::thread::hardware_concurrency()));
  shared.workers.emplace(workers, std::move(handler), shared.options.log);
  work.emplace(context.get_executor());
  accept();
  thread = std::thread([this] { run(); });
}

IVL_INLINE void Server::Parts::listen() {
  const ServerOptions& options = shared.options;
  boost::system::error_code error;
  const auto check = [&] {
    if (error) fail<Error>("http: cannot listen on ", options.host, ":", options.port, ": ", error.message());
  };
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  check();
  const tcp::endpoint endpoint = found.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  check();
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  check();
  acceptor.bind(endpoint, error);
  check();
  acceptor.listen(tcp::acceptor::max_listen_connections, error);
  check();
  port = acceptor.local_endpoint(error).port();
  check();
}

IVL_INLINE void Server::Parts::run() {
  for (bool again = true; again;) {
    again = false;
    try {
      context.run();
    } catch (const std::exception& error) {  // memory, mostly
      shared.options.log(std::string("http: ") + error.what());
      again = true;
    }
  }
}

IVL_INLINE void Server::Parts::accept() {
  if (accept_waits || !acceptor.is_open() || shared.open >= shared.options.max_connections) return;
  accept_waits = true;
  acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
    accept_waits = false;
    if (!error) add(std::move(socket));
    if (error && acceptor.is_open() && error != boost::asio::error::connection_aborted) {
      shared.options.log("http: cannot accept a connection: " + error.message());
      accept_waits = true;  // no file descriptors, mostly: later, perhaps
      accept_timer.expires_after(retry_accept);
      accept_timer.async_wait([this](boost::system::error_code) {
        accept_waits = false;
        accept();
      });
    }
    accept();
  });
}

IVL_INLINE void Server::Parts::add(tcp::socket socket) {
  const auto connection = std::make_shared<detail::Connection>(shared, std::move(socket));
  shared.connections.insert(connection);
  ++shared.open;
  connection->start();
  if (shared.draining) connection->drain();
}

IVL_INLINE void Server::Parts::stop_accepting() {
  shared.loop->post([this] {
    if (!acceptor.is_open()) return;
    boost::system::error_code error;
    acceptor.non_blocking(true, error);
    while (!error && shared.open < shared.options.max_connections) {
      tcp::socket socket(context);
      acceptor.accept(socket, error);
      if (!error) add(std::move(socket));
    }
    acceptor.close(error);
    accept_timer.cancel();
  });
}

IVL_INLINE bool Server::Parts::drain(std::chrono::milliseconds at_most) {
  stop_accepting();
  shared.loop->post([this] {
    shared.draining = true;
    const std::vector<std::shared_ptr<detail::Connection>> all(shared.connections.begin(), shared.connections.end());
    for (const auto& connection : all) connection->drain();
    const std::lock_guard lock(mutex);
    draining = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  const auto done = [this] { return draining && shared.open == 0; };
  changed.wait_for(lock, at_most, [&] { return stopped || done(); });
  return !stopped && done();
}

IVL_INLINE void Server::Parts::stop() {
  std::call_once(stop_once, [this] {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
    }
    changed.notify_all();
    if (!thread.joinable()) return;  // it never listened
    shared.loop->post([this] {
      boost::system::error_code ignored;
      acceptor.close(ignored);
      accept_timer.cancel();
      const std::vector<std::shared_ptr<detail::Connection>> all(shared.connections.begin(), shared.connections.end());
      for (const auto& connection : all) connection->close();
      work.reset();
      context.stop();
    });
    thread.join();
    shared.workers->stop();
  });
}

IVL_INLINE Server::Server(const ServerOptions& options, Handler handler)
    : parts_(std::make_unique<Parts>(options, std::move(handler))) {}
IVL_INLINE Server::~Server() = default;

IVL_INLINE std::uint16_t Server::port() const { return parts_->port; }
IVL_INLINE int Server::connections() const { return parts_->shared.open; }
IVL_INLINE void Server::stop_accepting() { parts_->stop_accepting(); }
IVL_INLINE bool Server::drain(std::chrono::milliseconds at_most) { return parts_->drain(at_most); }
IVL_INLINE void Server::stop() { parts_->stop(); }

}  // namespace ivl::http
