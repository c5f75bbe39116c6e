// The half of a connection that writes: heads, parts, what waits to be sent, and all that a clock ends.
#pragma once
#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/http/server.hpp"

namespace ivl::http::detail {

/// RFC 9110, 5.6.7. strftime would follow the locale.
inline std::string date_of(std::time_t seconds) {
  constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm t{};
  gmtime_r(&seconds, &t);
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
                t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

inline std::string error_body(const Refusal& refusal) {
  const std::string_view type = refusal.status >= 500 ? "server_error" : "invalid_request_error";
  std::string body = "{\"error\":{\"message\":\"";
  ((body += refusal.message) += "\",\"type\":\"") += type;
  return ((body += "\",\"param\":null,\"code\":\"") += refusal.code) += "\"}}";
}

// ---- the answer --------------------------------------------------------------------------------------------------

inline void Connection::send(std::uint64_t request, int status, std::string_view type, std::string body,
                             const Fields& fields) {
  if (!is_current(request)) return;
  if (begun_) return give_up(request, failed);
  add_head(status, type, fields, "Content-Length: " + std::to_string(body.size()) + "\r\n");
  if (has_body_) output_ += body;
  ended_ = true;
  flush();
}

inline void Connection::begin(std::uint64_t request, int status, std::string_view type, const Fields& fields) {
  if (!is_current(request) || begun_) return;
  chunked_ = !is_http_1_0_;
  if (!chunked_) keep_alive_ = false;  // its end is the connection's
  add_head(status, type, fields, chunked_ ? "Transfer-Encoding: chunked\r\n" : "");
  is_event_stream_ = has_body_ && type.starts_with("text/event-stream");
  flush();
}

inline void Connection::write(std::uint64_t request, std::string_view part) {
  if (!is_current(request) || !begun_ || ended_) return;
  add_part(part);
  flush();
}

inline void Connection::end(std::uint64_t request) {
  if (!is_current(request) || ended_) return;
  if (!begun_) return give_up(request, failed);
  if (chunked_ && has_body_) output_ += "0\r\n\r\n";
  ended_ = true;
  flush();
}

inline void Connection::give_up(std::uint64_t request, const Refusal& reason) {
  if (!is_current(request) || ended_) return;
  if (begun_) return close();  // cut off, so that nobody takes it for whole
  Fields fields;
  if (reason.status == 503) fields.emplace_back("Retry-After", "1");
  send(request, reason.status, "application/json", error_body(reason), fields);
}

inline void Connection::when_gone(std::uint64_t request, std::function<void()> action) {
  if (state_ == State::closed && request == request_ && !ended_) return tell(action);
  if (is_current(request) && !ended_) on_gone_ = std::move(action);
}

inline void Connection::when_backlog(std::uint64_t request, std::function<void(bool)> action) {
  if (!is_current(request) || ended_) return;
  on_backlog_ = std::move(action);
  if (full_) tell(on_backlog_, true);
}

inline void Connection::add_head(int status, std::string_view type, const Fields& fields, std::string_view length) {
  begun_ = true;
  has_body_ = !is_head_ && status != 204 && status != 304;
  if (shared_.draining) keep_alive_ = false;
  const auto reason = beast::http::obsolete_reason(beast::http::int_to_status(unsigned(status)));
  (output_ += "HTTP/1.1 ") += std::to_string(status);
  (output_ += ' ').append(reason.data(), reason.size());
  ((output_ += "\r\nDate: ") += date_of(std::time(nullptr))) += "\r\nX-Content-Type-Options: nosniff\r\n";
  if (status != 204 && status != 304) {
    if (!type.empty()) ((output_ += "Content-Type: ") += type) += "\r\n";
    output_ += length;
  }
  for (const auto& [name, value] : fields) (((output_ += name) += ": ") += value) += "\r\n";
  if (!keep_alive_) {
    output_ += "Connection: close\r\n";
  } else if (is_http_1_0_) {
    output_ += "Connection: keep-alive\r\n";
  }
  output_ += "\r\n";
}

inline void Connection::add_part(std::string_view part) {
  if (part.empty() || !has_body_) return;  // an empty chunk would be the last
  if (chunked_) {
    char size[20];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    ((output_ += size) += part) += "\r\n";
  } else {
    output_ += part;
  }
}

// ---- sending -----------------------------------------------------------------------------------------------------

inline void Connection::flush() {
  if (state_ == State::closed) return;
  while (!write_waits_ && backlog() > 0) {
    boost::system::error_code error;
    const std::size_t size = socket_.write_some(asio::const_buffer(output_.data() + sent_, backlog()), error);
    if (error == asio::error::would_block) {
      write_waits_ = true;
      socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](boost::system::error_code) {
        self->write_waits_ = false;
        self->flush();
      });
    } else if (error) {
      return close();
    }
    sent_ += size;
    goal_bytes_ -= std::min(goal_bytes_, size);
  }
  if (backlog() == 0 || sent_ > shared_.options.max_backlog_bytes) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
  if (state_ != State::answering) return;  // `100 Continue`: the deadline is the body's
  tell_backlog();
  if (backlog() > 0) {
    if (goal_bytes_ > 0) return;
    goal_bytes_ = write_goal_bytes;
    return set_deadline(shared_.options.write_timeout);
  }
  goal_bytes_ = 0;
  if (ended_) return finish();
  if (is_event_stream_ && shared_.options.comment_interval.count() > 0) {
    set_deadline(shared_.options.comment_interval);
  } else {
    clear_deadline();
  }
}

/// `full` above the limit, and no longer at half of it, so that it does not change with every part.
inline void Connection::tell_backlog() {
  const std::size_t limit = shared_.options.max_backlog_bytes;
  const bool full = backlog() > (full_ ? limit / 2 : limit);
  if (full == full_ || ended_) return;
  full_ = full;
  if (on_backlog_) tell(on_backlog_, full);
}

/// The answer has been sent.
inline void Connection::finish() {
  on_gone_ = {};
  on_backlog_ = {};
  output_ = {};
  shared_.bodies_bytes -= std::exchange(body_bytes_, 0);
  begun_ = ended_ = chunked_ = has_body_ = is_event_stream_ = full_ = false;
  if (!keep_alive_) return linger();
  state_ = State::idle;
  set_deadline(shared_.options.idle_timeout);
  if (!input_.empty()) parse(std::exchange(input_, {}));
  if (reading() && input_ended_) return close();
  if (shared_.draining) drain();
  watch();
}

/// A client that still sends would lose the answer to a reset if the connection was closed now.
inline void Connection::linger() {
  state_ = State::lingering;
  input_ = {};
  if (input_ended_) return close();
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  set_deadline(shared_.options.linger_timeout);
  watch();
}

inline void Connection::drain() {
  const auto waits = [this] { return state_ == State::idle || (state_ == State::header && !reader_); };
  if (waits()) on_readable();  // a request that has just arrived counts as begun
  if (waits()) close();
}

inline void Connection::close() {
  if (state_ == State::closed) return;
  const bool told = state_ == State::answering && !ended_;
  state_ = State::closed;
  boost::system::error_code ignored;
  timer_.cancel();
  socket_.close(ignored);
  shared_.bodies_bytes -= std::exchange(body_bytes_, 0);
  on_backlog_ = {};
  const auto action = std::exchange(on_gone_, {});
  const auto self = shared_from_this();
  shared_.connections.erase(self);
  --shared_.open;
  shared_.connection_closed();
  if (told) tell(action);
}

/// Closes it without the system still trying to send what the client does not take.
inline void Connection::reset() {
  boost::system::error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

/// An error of the handler's own code shall not end the loop.
template <class Action, class... Arguments>
void Connection::tell(const Action& action, Arguments... arguments) {
  if (!action) return;
  try {
    action(arguments...);
  } catch (const std::exception& error) {
    shared_.options.log(std::string("http: what a handler wants to be told failed: ") + error.what());
  }
}

// ---- time --------------------------------------------------------------------------------------------------------

/// Moving a deadline on is common and costs no timer: the one that waits sees it when it is due.
inline void Connection::set_deadline(Clock::duration from_now) {
  deadline_ = Clock::now() + from_now;
  if (!timer_waits_ || timer_.expiry() > deadline_) arm_timer();
}

inline void Connection::arm_timer() {
  timer_waits_ = true;
  timer_.expires_at(deadline_);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->state_ == State::closed) return;
    self->timer_waits_ = false;
    self->on_timer();
  });
}

inline void Connection::on_timer() {
  if (deadline_ == Clock::time_point::max()) return;
  if (Clock::now() < deadline_) return arm_timer();
  clear_deadline();
  on_deadline();
}

inline void Connection::on_deadline() {
  switch (state_) {
    case State::header:
      if (!reader_) return close();
      return refuse(too_slow);
    case State::body:
      return refuse(too_slow);
    case State::answering:
      if (backlog() > 0) return reset();
      add_part(": keep-alive\n\n");
      return flush();
    case State::idle:
    case State::lingering:
    case State::closed:
      return close();
  }
}

}  // namespace ivl::http::detail
