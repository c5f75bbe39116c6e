// A TLS connection with a deadline, to an address that was checked, under a name that its certificate has to have.
#pragma once
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/http/fetch.hpp"

namespace ivl::http::detail {

/// When a fetch has to be done, and for whom errors speak.
struct FetchTask {
  using Clock = std::chrono::steady_clock;
  std::string host;
  Clock::time_point end;
  std::chrono::milliseconds timeout;

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<FetchError>("fetch: ", host, ": ", parts...);
  }
  std::chrono::milliseconds left() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) refuse("expected an answer within ", timeout.count(), " ms");
    return left;
  }
};

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }

  /// False if it is not ready in time.
  bool wait(short events, std::chrono::milliseconds at_most) const {
    pollfd waiting{descriptor_, events, 0};
    return ::poll(&waiting, 1, int(at_most.count()) + 1) > 0;
  }

 private:
  int descriptor_;
};

/// Connected, or -1 if that fails or takes longer.
inline Socket connect_to(const Address& address, std::uint16_t port, std::chrono::milliseconds at_most) {
  Socket socket(::socket(address.is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return socket;
  sockaddr_storage to{};
  socklen_t size = 0;
  if (address.is_v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes.data(), 16);
    size = sizeof v6;
  } else {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes.data(), 4);
    size = sizeof v4;
  }
  int error = 0;
  socklen_t error_size = sizeof error;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), size) == 0) return socket;
  const bool good = errno == EINPROGRESS && socket.wait(POLLOUT, at_most) &&
                    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &error_size) == 0 && error == 0;
  return good ? std::move(socket) : Socket(-1);
}

/// OpenSSL sees memory alone: the bytes are moved here, with a deadline, and without SIGPIPE.
class TlsStream {
 public:
  TlsStream(SSL_CTX* context, Socket socket, const FetchTask& task)
      : task_(task),
        socket_(std::move(socket)),
        ssl_(SSL_new(context)),
        in_(BIO_new(BIO_s_mem())),
        out_(BIO_new(BIO_s_mem())) {
    if (!ssl_ || !in_ || !out_) throw std::bad_alloc();
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl_.get(), task.host.c_str()) != 1 ||
        SSL_set_tlsext_host_name(ssl_.get(), task.host.c_str()) != 1)
      throw std::bad_alloc();
    if (run([this] { return SSL_connect(ssl_.get()); }) != Outcome::done) {
      if (SSL_get_verify_result(ssl_.get()) != X509_V_OK) task_.refuse("expected a valid certificate for this name");
      task_.refuse("expected TLS 1.2 or 1.3, found none");
    }
  }

  void write(std::string_view text) {
    if (run([&] { return SSL_write(ssl_.get(), text.data(), int(text.size())); }) != Outcome::done) cut_off();
  }

  /// Some bytes; none at the end, which has to be told by TLS: without that, anybody could have cut them off.
  std::string_view read() {
    int size = 0;
    const Outcome outcome = run([&] { return size = SSL_read(ssl_.get(), buffer_, sizeof buffer_); });
    if (outcome == Outcome::failed) cut_off();
    return {buffer_, outcome == Outcome::done ? std::size_t(size) : 0};
  }

 private:
  enum class Outcome { done, ended, failed };
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  [[noreturn]] void cut_off() const { task_.refuse("the connection was cut off"); }

  template <class Operation>
  Outcome run(const Operation& operation) {
    for (;;) {
      ERR_clear_error();
      const int result = operation();
      const int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), result);
      send_all();
      if (error == SSL_ERROR_NONE) return Outcome::done;
      if (error == SSL_ERROR_ZERO_RETURN) return Outcome::ended;
      if (error != SSL_ERROR_WANT_READ || !receive()) return Outcome::failed;
    }
  }

  void send_all() {
    char bytes[4096];
    int size = 0;
    while ((size = BIO_read(out_, bytes, sizeof bytes)) > 0) {
      for (std::string_view left(bytes, std::size_t(size)); !left.empty();) {
        const ssize_t sent = ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL);
        if (sent > 0)
          left.remove_prefix(std::size_t(sent));
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
          socket_.wait(POLLOUT, task_.left());
        else
          return;  // the reading that follows meets the end
      }
    }
  }

  /// False at the end.
  bool receive() {
    for (;;) {
      const ssize_t size = ::recv(socket_.get(), buffer_, sizeof buffer_, 0);
      if (size > 0) return BIO_write(in_, buffer_, int(size)) == int(size);
      if (size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return false;
      socket_.wait(POLLIN, task_.left());
    }
  }

  const FetchTask& task_;
  Socket socket_;
  std::unique_ptr<SSL, Free> ssl_;
  BIO *in_, *out_;  // of ssl_
  char buffer_[16 << 10];
};

}  // namespace ivl::http::detail
