// An HTTP/1.1 server for strangers: whatever a client sends, or leaves out, is bounded in bytes and in time.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/http/exchange.hpp"

namespace ivl::http {

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< an address or a name; 0.0.0.0 and :: mean every interface
  std::uint16_t port = 0;          ///< 0: a free one
  int workers = 0;                 ///< threads that run the handler; 0: one for each CPU, and at least four
  int max_connections = 4096;      ///< further clients wait in the system's queue

  std::size_t max_header_bytes = 8 << 10;  ///< the request line and all fields
  int max_fields = 100;
  std::size_t max_body_bytes = 32 << 20;    ///< of one request
  std::size_t max_bodies_bytes = 1 << 30;   ///< of all requests that are received or answered at the moment
  std::size_t max_backlog_bytes = 1 << 20;  ///< of an answer that wait for its client, before when_backlog(true)

  using Duration = std::chrono::milliseconds;
  Duration header_timeout = std::chrono::seconds(10);  ///< from the first byte (of a new connection, from its start)
  Duration body_timeout = std::chrono::seconds(30);    ///< and for each MiB received:
  Duration body_timeout_per_mib = std::chrono::seconds(1);
  Duration idle_timeout = std::chrono::seconds(30);   ///< between two requests
  Duration write_timeout = std::chrono::seconds(30);  ///< for a client to take the next 64 KiB, or what there is
  Duration linger_timeout = std::chrono::seconds(2);  ///< for a client to close, after the last answer
  /// A `text/event-stream` without a write for so long gets a comment, which keeps proxies from closing it. 0: never.
  Duration comment_interval = std::chrono::seconds(15);

  /// Told what a handler threw, and why no connection could be accepted. From several threads. Nothing: to stderr.
  std::function<void(std::string_view line)> log = {};
};

/// One thread does all that touches sockets, others run the handler. A request is handed over when all of it has been
/// received; the next one of the same connection waits until its answer has been sent. What cannot be handed over is
/// answered by the server itself, in the form of OpenAI's errors: 400, 408, 411, 413, 414, 417, 431, 501, 503, 505.
///
/// Of an answer's fields, the server writes Date, Content-Type, X-Content-Type-Options, Connection, and Content-Length
/// or Transfer-Encoding. A field that cannot be sent as it is (control characters) makes `send` and `begin` throw
/// Error. An answer to HEAD is sent without its body. Each write to a `text/event-stream` shall be whole events, since
/// comments may be sent in between.
///
/// A client that has shut down its sending side still gets its answer. Whether it did that or went away, only something
/// sent to it can tell; so it is sent a comment if an event stream has begun, or else `100 Continue`.
class Server {
 public:
  /// Listens, and serves from now on. Throws Error where it cannot listen.
  Server(const ServerOptions& options, Handler handler);
  /// Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;  ///< that it listens on
  int connections() const;     ///< open at the moment

  /// Takes no new connections; those in the system's queue are still accepted.
  void stop_accepting();

  /// Stops accepting, closes connections that wait for a request, answers what has been begun, and returns when no
  /// connection is left (true), or at the time's end or when somebody stops the server (false).
  bool drain(std::chrono::milliseconds at_most);

  /// Closes all connections (`when_gone` is told), and returns when no handler runs.
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ivl::http

#ifndef IVL_COMPILED
// Each needs those above it.
// clang-format off
#include "ivl/http/server_reader.ipp"
#include "ivl/http/server_loop.ipp"
#include "ivl/http/server_connection.ipp"
#include "ivl/http/server_writing.ipp"
#include "ivl/http/server.ipp"
// clang-format on
#endif
