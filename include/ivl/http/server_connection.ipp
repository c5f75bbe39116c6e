// One connection of the server: reads a request, hands it over, sends its answer, reads the next.
#pragma once
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/http/server.hpp"

namespace ivl::http::detail {

using boost::asio::ip::tcp;

/// Lives on the loop's thread alone. What waits for its socket or timer, and `Shared::connections`, keep it alive.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Shared& shared, tcp::socket socket);

  void start();
  void drain();  ///< closes it if no request has been begun
  void close();

  // For the answer to the request of that number; those to any other are dropped.
  void send(std::uint64_t request, int status, std::string_view type, std::string body, const Fields& fields);
  void begin(std::uint64_t request, int status, std::string_view type, const Fields& fields);
  void write(std::uint64_t request, std::string_view part);
  void end(std::uint64_t request);
  void give_up(std::uint64_t request, const Refusal& reason);
  void when_gone(std::uint64_t request, std::function<void()> action);
  void when_backlog(std::uint64_t request, std::function<void(bool)> action);

 private:
  using Clock = std::chrono::steady_clock;
  /// `answering` from the moment that a request was received, or refused, until its answer has been sent.
  enum class State { idle, header, body, answering, lingering, closed };
  static constexpr std::size_t write_goal_bytes = 64 << 10;
  static constexpr std::size_t max_early_bytes = 64 << 10;  // of requests that are sent before the last one is answered

  bool reading() const { return state_ == State::idle || state_ == State::header || state_ == State::body; }
  std::size_t backlog() const { return output_.size() - sent_; }

  // reading
  void watch();
  void on_readable();
  void on_end_of_input();
  void watch_for_reset();
  void parse(std::string_view bytes);
  bool account_for_body();
  void hand_over();
  void refuse(const Refusal& refusal);

  // writing
  bool is_current(std::uint64_t request) const { return state_ == State::answering && request == request_; }
  void add_head(int status, std::string_view type, const Fields& fields, std::string_view length);
  void add_part(std::string_view part);
  void flush();
  void tell_backlog();
  void finish();
  void linger();
  void reset();

  // time
  void set_deadline(Clock::duration from_now);
  void clear_deadline() { deadline_ = Clock::time_point::max(); }
  void arm_timer();
  void on_timer();
  void on_deadline();

  template <class Action, class... Arguments>
  void tell(const Action& action, Arguments... arguments);

  Shared& shared_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point body_began_ = {};
  bool timer_waits_ = false, read_waits_ = false, write_waits_ = false;

  State state_ = State::header;
  bool input_ended_ = false;
  std::unique_ptr<RequestReader> reader_;
  std::string input_;           // received, and not parsed yet
  std::size_t body_bytes_ = 0;  // of shared_.bodies_bytes

  std::uint64_t request_ = 0;
  bool keep_alive_ = true, is_http_1_0_ = false, is_head_ = false;
  bool begun_ = false, ended_ = false, chunked_ = false, has_body_ = false, is_event_stream_ = false, full_ = false;
  std::function<void()> on_gone_;
  std::function<void(bool)> on_backlog_;
  std::string output_;
  std::size_t sent_ = 0;        // of output_
  std::size_t goal_bytes_ = 0;  // to be taken before the deadline; 0: the client has taken all
};

inline Connection::Connection(Shared& shared, tcp::socket socket)
    : shared_(shared), socket_(std::move(socket)), timer_(shared.loop->context()) {}

inline void Connection::start() {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  // The system shall keep little of what the client has not taken: the backlog is ours to know. And what a client that
  // vanished without a word does not acknowledge ends the connection.
  const int goal_bytes = write_goal_bytes, timeout_ms = int(shared_.options.write_timeout.count());
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &goal_bytes, sizeof goal_bytes);
  ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
  set_deadline(shared_.options.header_timeout);
  watch();
}

// ---- reading -----------------------------------------------------------------------------------------------------

inline void Connection::watch() {
  if (state_ == State::closed || read_waits_ || input_ended_ || input_.size() >= max_early_bytes) return;
  read_waits_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](boost::system::error_code) {
    self->read_waits_ = false;
    self->on_readable();
  });
}

inline void Connection::on_readable() {
  if (state_ == State::closed || input_ended_) return;
  boost::system::error_code error;
  const std::size_t size = socket_.read_some(asio::buffer(shared_.received), error);
  if (error == asio::error::eof) return on_end_of_input();
  if (error && error != asio::error::would_block) return close();
  const std::string_view bytes(shared_.received.data(), size);
  if (reading()) {
    parse(bytes);
  } else if (state_ == State::answering) {
    input_ += bytes;
  }
  watch();
}

inline void Connection::on_end_of_input() {
  input_ended_ = true;
  if (state_ != State::answering) return close();
  watch_for_reset();
  // Whether it went away or only sends no more, the answer to something sent will tell.
  if (ended_ || is_http_1_0_) return;
  if (!begun_) {
    output_ += "HTTP/1.1 100 Continue\r\n\r\n";
  } else if (is_event_stream_) {
    add_part(": still there?\n\n");
  }
  flush();
}

inline void Connection::watch_for_reset() {
  socket_.async_wait(tcp::socket::wait_error,
                     [self = shared_from_this()](boost::system::error_code) { self->close(); });
}

inline void Connection::parse(std::string_view bytes) {
  std::string all;
  if (!input_.empty()) {
    all = std::move(input_) + std::string(bytes);
    bytes = all;
    input_.clear();
  }
  while (reading()) {
    if (!reader_) {
      if (bytes.starts_with("\r\n")) bytes.remove_prefix(2);  // some clients end a body with it
      if (bytes.empty()) return;
      if (state_ == State::idle) set_deadline(shared_.options.header_timeout);
      state_ = State::header;
      reader_ = std::make_unique<RequestReader>(shared_.options);
    }
    boost::system::error_code error;
    const std::size_t used = reader_->put(asio::const_buffer(bytes.data(), bytes.size()), error);
    if (error && error != beast::http::error::need_more) return refuse(reader_->refusal(error, bytes));
    bytes.remove_prefix(used);
    if (state_ == State::header && reader_->is_header_done()) {
      state_ = State::body;
      body_began_ = Clock::now();
      if (reader_->expects_continue() && !reader_->is_done() && bytes.empty()) {
        output_ += "HTTP/1.1 100 Continue\r\n\r\n";
        flush();
      }
    }
    if (state_ == State::body && !account_for_body()) return refuse(no_memory);
    if (reader_->is_done()) {
      hand_over();
    } else if (error || bytes.empty()) {
      break;
    }
  }
  // What the parser leaves for later is at most a header, or the line or the trailers of a chunk.
  if (reading() && bytes.size() > shared_.options.max_header_bytes) return refuse(large_header);
  input_ += bytes;
}

/// Counts what has been received, and moves the deadline on by it.
inline bool Connection::account_for_body() {
  const std::size_t size = reader_->request.body.size();
  shared_.bodies_bytes += size - body_bytes_;
  body_bytes_ = size;
  const auto& options = shared_.options;
  const auto for_bytes = Clock::duration(options.body_timeout_per_mib) * double(size) / double(1 << 20);
  const auto end = body_began_ + options.body_timeout + std::chrono::duration_cast<Clock::duration>(for_bytes);
  set_deadline(end - Clock::now());
  return shared_.bodies_bytes <= options.max_bodies_bytes;
}

inline void Connection::hand_over() {
  state_ = State::answering;
  clear_deadline();
  ++request_;
  keep_alive_ = reader_->keep_alive();
  is_http_1_0_ = reader_->version() < 11;
  is_head_ = reader_->request.method == "HEAD";
  Request request = std::move(reader_->request);
  reader_.reset();
  shared_.workers->add(std::move(request), std::make_shared<Answer>(shared_.loop, weak_from_this(), request_));
}

/// The server's own answer to what it cannot hand over. Where the next request would begin is not known then.
inline void Connection::refuse(const Refusal& refusal) {
  state_ = State::answering;
  ++request_;
  keep_alive_ = false;
  is_head_ = reader_ && reader_->request.method == "HEAD";
  reader_.reset();
  give_up(request_, refusal);
}

}  // namespace ivl::http::detail
