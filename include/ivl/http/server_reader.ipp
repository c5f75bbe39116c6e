// How the server reads a request: Beast's parser, and the rules that it leaves open.
#pragma once
#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/http/server.hpp"

namespace ivl::http::detail {

namespace beast = boost::beast;

/// Why a request is not handed to the handler. The texts hold nothing that the client sent.
struct Refusal {
  int status;
  std::string_view message, code;
};

inline constexpr Refusal bad_request{400, "The request is no valid HTTP/1.1", "invalid_request"};
inline constexpr Refusal bad_host{400, "Expected one Host field", "invalid_host"};
inline constexpr Refusal bad_path{400, "Expected a path of printable ASCII that begins with '/'", "invalid_path"};
inline constexpr Refusal too_slow{408, "The request took too long to arrive", "request_timeout"};
inline constexpr Refusal no_length{411, "Expected Content-Length or Transfer-Encoding: chunked", "length_required"};
inline constexpr Refusal large_body{413, "The body is larger than this server accepts", "body_too_large"};
inline constexpr Refusal long_path{414, "The request line is longer than this server accepts", "path_too_long"};
inline constexpr Refusal unknown_expectation{417, "Expected no Expect but 100-continue", "expectation_failed"};
inline constexpr Refusal large_header{431, "The header has more bytes or fields than this server accepts",
                                      "header_too_large"};
inline constexpr Refusal failed{500, "The server failed", "internal_error"};
inline constexpr Refusal unknown_method{501, "Expected GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
                                        "method_not_implemented"};
inline constexpr Refusal unknown_encoding{501, "Expected no Transfer-Encoding but chunked", "encoding_not_implemented"};
inline constexpr Refusal no_memory{503, "The server holds as many bodies as it may: try again later", "overloaded"};
inline constexpr Refusal unknown_version{505, "Expected HTTP/1.1 or HTTP/1.0", "version_not_supported"};

inline std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = char(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// One request. `put` takes bytes as they come and says how many of them it has used.
class RequestReader final : public beast::http::basic_parser<true> {
 public:
  explicit RequestReader(const ServerOptions& options) : options_(options) {
    eager(true);
    header_limit(std::uint32_t(options.max_header_bytes));
    body_limit(std::uint64_t(options.max_body_bytes));
  }

  Request request;

  int version() const { return version_; }  ///< 10 or 11
  bool expects_continue() const { return expects_continue_; }

  /// Why a put that ended with this error did, of bytes that began with `bytes`.
  const Refusal& refusal(beast::error_code found, std::string_view bytes) const {
    using beast::http::error;
    if (refusal_) return *refusal_;
    if (found == error::body_limit) return large_body;
    if (found == error::bad_version) {  // of a line that ends in something else, too
      const std::string_view line = bytes.substr(0, bytes.find("\r\n"));
      return line.substr(line.size() - std::min<std::size_t>(line.size(), 9)).starts_with(" HTTP/") ? unknown_version
                                                                                                    : bad_request;
    }
    if (found != error::header_limit) return bad_request;
    const bool line_ends =
        !request.method.empty() || bytes.substr(0, options_.max_header_bytes).find('\n') != bytes.npos;
    return line_ends ? large_header : long_path;
  }

 private:
  using Text = beast::string_view;
  static std::string_view view(Text text) { return {text.data(), text.size()}; }

  void refuse(const Refusal& refusal, beast::error_code& error) {
    refusal_ = &refusal;
    error = beast::http::error::bad_value;
  }

  void on_request_impl(beast::http::verb, Text method, Text target, int version, beast::error_code& error) override {
    version_ = version;
    request.method = view(method);
    constexpr std::string_view known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    if (std::find(std::begin(known), std::end(known), request.method) == std::end(known)) {
      return refuse(unknown_method, error);
    }
    const std::string_view text = view(target);
    const auto printable = [](char c) { return c > 0x20 && c < 0x7f && c != '#'; };
    if (!text.starts_with('/') || !std::all_of(text.begin(), text.end(), printable)) return refuse(bad_path, error);
    const std::size_t end = std::min(text.find('?'), text.size());
    request.path = text.substr(0, end);
    if (end < text.size()) request.query = text.substr(end + 1);
  }

  void on_field_impl(beast::http::field, Text name, Text value, beast::error_code& error) override {
    if (++fields_ > options_.max_fields) return refuse(large_header, error);
    if (in_body_) return;  // a trailer: those are dropped, so that none can add to what a proxy has checked
    std::string key = lower_case(view(name));
    if (key == "transfer-encoding") {
      // Beast takes `gzip, chunked` for chunked, and `identity` for nothing.
      if (lower_case(view(value)) != "chunked") return refuse(unknown_encoding, error);
      if (version_ < 11) return refuse(bad_request, error);
      has_length_ = true;
    } else if (key == "content-length") {
      has_length_ = true;
    } else if (key == "host") {
      ++hosts_;
    } else if (key == "expect") {
      if (lower_case(view(value)) != "100-continue") return refuse(unknown_expectation, error);
      expects_continue_ = version_ >= 11;
    }
    request.fields.emplace_back(std::move(key), view(value));
  }

  /// Trailers have this function of their own since Boost 1.90.
  virtual void on_trailer_field_impl(beast::http::field, Text, Text, beast::error_code& error) {
    if (++fields_ > options_.max_fields) refuse(large_header, error);
  }

  void on_header_impl(beast::error_code& error) override {
    in_body_ = true;
    if (version_ >= 11 ? hosts_ != 1 : hosts_ > 1) return refuse(bad_host, error);
    const bool brings_body = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
    if (brings_body && !has_length_) return refuse(no_length, error);
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code&) override {}
  std::size_t on_body_impl(Text bytes, beast::error_code&) override {
    request.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_chunk_header_impl(std::uint64_t, Text, beast::error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text bytes, beast::error_code& error) override {
    return on_body_impl(bytes, error);
  }
  void on_finish_impl(beast::error_code&) override {}
  void on_response_impl(int, Text, int, beast::error_code&) override {}  // of responses

  const ServerOptions& options_;
  const Refusal* refusal_ = nullptr;
  int version_ = 11, fields_ = 0, hosts_ = 0;
  bool has_length_ = false, in_body_ = false, expects_continue_ = false;
};

}  // namespace ivl::http::detail
