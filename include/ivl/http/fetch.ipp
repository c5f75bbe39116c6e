// The bodies of fetch.hpp.
#pragma once
#include <netdb.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/http/fetch.hpp"
#include "ivl/http/url.hpp"

namespace ivl::http {

namespace detail {

/// One response. Only three of its fields matter.
class ResponseReader final : public boost::beast::http::basic_parser<false> {
 public:
  explicit ResponseReader(std::size_t max_bytes) {
    constexpr std::uint32_t max_header_bytes = 32 << 10;  // some hosts set many cookies
    eager(true);
    header_limit(max_header_bytes);
    body_limit(std::uint64_t(max_bytes));
  }

  int status = 0;
  std::string body, location, content_type;
  bool is_encoded = false;

 private:
  using Text = boost::beast::string_view;
  using Error = boost::beast::error_code;
  using Field = boost::beast::http::field;

  void on_response_impl(int found, Text, int, Error&) override { status = found; }
  void on_field_impl(Field field, Text, Text value, Error&) override {
    const std::string_view text(value.data(), value.size());
    const auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
    if (field == Field::location) location = text;
    if (field == Field::content_type && std::all_of(text.begin(), text.end(), printable)) content_type = text;
    if (field == Field::content_encoding) is_encoded |= text != "identity";
  }
  virtual void on_trailer_field_impl(Field, Text, Text, Error&) {}  // since Boost 1.90
  std::size_t on_body_impl(Text bytes, Error&) override {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  std::size_t on_chunk_body_impl(std::uint64_t, Text bytes, Error& error) override {
    return on_body_impl(bytes, error);
  }
  void on_header_impl(Error&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  void on_chunk_header_impl(std::uint64_t, Text, Error&) override {}
  void on_finish_impl(Error&) override {}
  void on_request_impl(boost::beast::http::verb, Text, Text, int, Error&) override {}  // of requests
};

/// The system's resolver cannot be told how long it may take, so it has a thread that may be left behind.
inline std::vector<Address> resolve_by_system(const FetchTask& task) {
  const auto promise = std::make_shared<std::promise<std::vector<Address>>>();
  std::future<std::vector<Address>> found = promise->get_future();
  std::thread([promise, host = task.host] {
    std::vector<Address> addresses;
    addrinfo hints{}, *first = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(host.c_str(), nullptr, &hints, &first) == 0) {
      for (const addrinfo* at = first; at; at = at->ai_next) {
        Address address;
        address.is_v6 = at->ai_family == AF_INET6;
        if (address.is_v6) {
          std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(at->ai_addr)->sin6_addr, 16);
        } else if (at->ai_family == AF_INET) {
          std::memcpy(address.bytes.data(), &reinterpret_cast<const sockaddr_in*>(at->ai_addr)->sin_addr, 4);
        } else {
          continue;
        }
        addresses.push_back(address);
      }
      ::freeaddrinfo(first);
    }
    promise->set_value(std::move(addresses));
  }).detach();
  if (found.wait_for(task.left()) != std::future_status::ready) task.left();
  return found.get();
}

inline Url redirected(const Url& url, std::string_view location, const FetchTask& task) {
  if (location.empty()) task.refuse("expected to be told where a redirection leads");
  try {
    return resolve_url(url, location);
  } catch (const RequestError&) {  // quotes what the host sent
    task.refuse("expected a redirection to https and a domain, found another");
  }
}

}  // namespace detail

struct Fetcher::Parts {
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  FetchOptions options;
  std::unique_ptr<SSL_CTX, Free> context;

  detail::Socket connect(const Url& url, const detail::FetchTask& task) const;
  detail::ResponseReader get(const Url& url, const detail::FetchTask& task) const;
};

IVL_INLINE Fetcher::Fetcher(const FetchOptions& options) : parts_(std::make_unique<Parts>()) {
  parts_->options = options;
  for (std::string& host : parts_->options.hosts) {
    const Url url = parse_url("https://" + host);
    if (url.target != "/") fail<RequestError>("fetch: expected a host to fetch from, found ", in_quotes(host));
    host = url.host + ":" + std::to_string(url.port);
  }
  parts_->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = parts_->context.get();
  if (!context) fail<Error>("fetch: OpenSSL cannot be set up");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  const std::string& file = options.certificates;
  if (file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
    fail<FileError>(file, ": expected certificates in PEM form");
  }
}

IVL_INLINE Fetcher::~Fetcher() = default;

IVL_INLINE detail::Socket Fetcher::Parts::connect(const Url& url, const detail::FetchTask& task) const {
  const std::string name = url.host + ":" + std::to_string(url.port);
  if (std::find(options.hosts.begin(), options.hosts.end(), name) == options.hosts.end())
    task.refuse("with port ", url.port, " it is not on the list of hosts that files may come from");
  const std::vector<Address> addresses = options.resolve ? options.resolve(url.host) : detail::resolve_by_system(task);
  if (addresses.empty()) task.refuse("it has no address");
  for (const Address& address : addresses) {
    if (!options.may_connect(address)) task.refuse("it has an address that is not public");
  }
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    detail::Socket socket = detail::connect_to(addresses[i], url.port, task.left() / int(addresses.size() - i));
    if (socket.get() >= 0) return socket;
  }
  task.left();  // if that is why, it says so
  task.refuse("it cannot be connected to");
}

IVL_INLINE detail::ResponseReader Fetcher::Parts::get(const Url& url, const detail::FetchTask& task) const {
  namespace http = boost::beast::http;
  detail::TlsStream stream(context.get(), connect(url, task), task);
  const std::string host = url.host + (url.port == 443 ? "" : ":" + std::to_string(url.port));
  stream.write("GET " + url.target + " HTTP/1.1\r\nHost: " + host +
               "\r\nUser-Agent: ivl\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n");
  detail::ResponseReader reader(options.max_bytes);
  std::string input;
  while (!reader.is_done()) {
    const std::string_view bytes = stream.read();
    boost::beast::error_code error;
    if (bytes.empty()) {
      if (reader.got_some()) reader.put_eof(error);
      if (error || !reader.got_some()) task.refuse("the connection was cut off");
      break;
    }
    input += bytes;
    while (!input.empty() && !reader.is_done() && !error) {
      input.erase(0, reader.put(boost::asio::const_buffer(input.data(), input.size()), error));
    }
    if (error == http::error::body_limit) task.refuse("expected at most ", options.max_bytes, " bytes, found more");
    if (error && error != http::error::need_more) task.refuse("expected HTTP/1.1, found something else");
    task.left();
  }
  return reader;
}

IVL_INLINE Fetched Fetcher::fetch(std::string_view text) const {
  const FetchOptions& options = parts_->options;
  Url url = parse_url(text);
  const auto end = detail::FetchTask::Clock::now() + options.timeout;
  for (int redirects = 0;; ++redirects) {
    const detail::FetchTask task{url.host, end, options.timeout};
    detail::ResponseReader response = parts_->get(url, task);
    switch (response.status) {
      case 200:
        if (response.is_encoded) task.refuse("expected no Content-Encoding, found one");
        return {std::move(response.body), std::move(response.content_type)};
      case 301:
      case 302:
      case 303:
      case 307:
      case 308:
        if (redirects == options.max_redirects)
          task.refuse("expected at most ", redirects, " redirections, found more");
        url = detail::redirected(url, response.location, task);
        break;
      default:
        task.refuse("expected status 200, found ", response.status);
    }
  }
}

}  // namespace ivl::http
