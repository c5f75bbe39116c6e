// Files from the web, of a few named hosts, for requests of strangers.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/http/address.hpp"

namespace ivl::http {

/// Nothing was fetched. The text names the host and the rule or what the host did, and holds nothing that it sent.
struct FetchError : RequestError {
  using RequestError::RequestError;
};

struct FetchOptions {
  /// What may be fetched from: `example.org` (port 443), `example.org:8443`. Nothing else, no subdomains either.
  std::vector<std::string> hosts = {};
  std::size_t max_bytes = 20'000'000;
  std::chrono::milliseconds timeout = std::chrono::seconds(5);  ///< for all of it, redirections included
  int max_redirects = 3;
  std::string certificates = {};  ///< PEM file of the authorities to trust; empty: the system's

  /// All addresses of a host. Nothing: the system's resolver.
  std::function<std::vector<Address>(const std::string& host)> resolve = {};
  std::function<bool(const Address&)> may_connect = is_global;
};

struct Fetched {
  std::string bytes;
  std::string content_type;  ///< as the host says, which may be wrong; printable ASCII, or empty
};

/// For any thread, several at once.
class Fetcher {
 public:
  /// Throws FileError for certificates that cannot be read, RequestError for a host that is none.
  explicit Fetcher(const FetchOptions& options);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  /// The file at an https address (parse_url). Its host has to be on the list, all of the host's addresses have to be
  /// ones that may be connected to, and the connection goes to one of those, under the host's name, which its
  /// certificate has to have (TLS 1.2 or 1.3). A redirection begins all this anew. Nothing is decompressed: an encoded
  /// answer is refused. Throws FetchError, or RequestError for what is no such address.
  Fetched fetch(std::string_view url) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ivl::http

#ifndef IVL_COMPILED
// It needs the one above it.
// clang-format off
#include "ivl/http/fetch_tls.ipp"
#include "ivl/http/fetch.ipp"
// clang-format on
#endif
