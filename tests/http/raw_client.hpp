// A client that sends the bytes that it is told, and knows nothing of the server's code.
#pragma once
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace ivl::test {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// A test that waits longer than this fails.
inline constexpr Milliseconds long_enough{5000};

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

struct RawResponse {
  int status = 0;
  std::string head, body;
  bool whole = false;

  /// The value of the first field of that name, in lower case.
  std::string field(std::string name) const {
    std::string lower = head;
    for (char& c : lower) c = char(std::tolower(static_cast<unsigned char>(c)));
    const std::size_t at = lower.find("\r\n" + name + ": ");
    if (at == lower.npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_buffer_bytes = 0) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(socket_ >= 0);
    if (receive_buffer_bytes > 0) {
      ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    }
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), received_(std::move(other.received_)), ended_(other.ended_) {}
  RawClient& operator=(RawClient&&) = delete;
  ~RawClient() { close(); }

  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void stop_sending() { ::shutdown(socket_, SHUT_WR); }

  /// False if the server has closed the connection.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t size = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size <= 0) return false;
      bytes.remove_prefix(std::size_t(size));
    }
    return true;
  }

  /// Waits for more bytes; false at the end of the connection, or when none come in time.
  bool receive(Milliseconds at_most = long_enough) {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, int(at_most.count())) <= 0) return false;
    char bytes[1 << 16];
    const ssize_t size = ::recv(socket_, bytes, sizeof bytes, 0);
    if (size <= 0) ended_ = true;
    if (size < 0) reset_ = errno == ECONNRESET;
    if (size > 0) received_.append(bytes, std::size_t(size));
    return size > 0;
  }

  /// Everything up to the end of the connection.
  std::string rest() {
    while (receive()) continue;
    CHECK(ended_);
    return std::exchange(received_, {});
  }

  /// True once those bytes have come.
  bool sees(std::string_view bytes, Milliseconds at_most = long_enough) {
    const auto end = Clock::now() + at_most;
    while (received_.find(bytes) == received_.npos) {
      const auto left = std::chrono::duration_cast<Milliseconds>(end - Clock::now());
      if (left.count() <= 0 || !receive(left)) return false;
    }
    return true;
  }

  bool closed(Milliseconds at_most = long_enough) {
    const auto end = Clock::now() + at_most;
    while (!ended_) {
      const auto left = std::chrono::duration_cast<Milliseconds>(end - Clock::now());
      if (left.count() <= 0) return false;
      receive(left);
    }
    return true;
  }

  /// The next response; `whole` is false if the connection ended before it did. Interim ones are responses too.
  RawResponse response(bool to_head = false) {
    RawResponse result;
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == received_.npos) {
      if (!receive()) return result;
    }
    result.head = received_.substr(0, end + 2);
    received_.erase(0, end + 4);
    REQUIRE(result.head.starts_with("HTTP/1.1 "));
    result.status = std::atoi(result.head.c_str() + 9);
    if (to_head || result.status == 100 || result.status == 204) {
      result.whole = true;
    } else if (result.field("transfer-encoding") == "chunked") {
      result.whole = take_chunks(result.body);
    } else if (const std::string length = result.field("content-length"); !length.empty()) {
      result.whole = take(std::strtoull(length.c_str(), nullptr, 10), result.body);
    } else {
      result.body = rest();
      result.whole = true;
    }
    return result;
  }

  /// Whether the connection's end was a reset.
  bool reset() const { return reset_; }
  const std::string& received() const { return received_; }
  int descriptor() const { return socket_; }

 private:
  bool take(std::size_t size, std::string& to) {
    while (received_.size() < size) {
      if (!receive()) return false;
    }
    to += received_.substr(0, size);
    received_.erase(0, size);
    return true;
  }

  bool take_chunks(std::string& to) {
    for (;;) {
      std::size_t end = 0;
      while ((end = received_.find("\r\n")) == received_.npos) {
        if (!receive()) return false;
      }
      const std::size_t size = std::strtoull(received_.c_str(), nullptr, 16);
      received_.erase(0, end + 2);
      std::string line_end;
      if (!take(size, to) || !take(2, line_end)) return false;
      CHECK(line_end == "\r\n");
      if (size == 0) return true;
    }
  }

  int socket_ = -1;
  std::string received_;
  bool ended_ = false, reset_ = false;
};

}  // namespace ivl::test
