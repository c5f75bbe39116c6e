// The one parser of addresses in the web that ivl has: what it gives is what is checked, and what is fetched.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"

namespace ivl::http {

struct Url {
  std::string host;  ///< a domain, in lower case
  std::uint16_t port = 443;
  std::string target;  ///< path and query as they were sent, beginning with '/'
};

/// `https://host[:port][/path][?query][#fragment]` in the characters of RFC 3986, at most 8 KiB; the fragment is
/// dropped. Throws RequestError with the rule for anything else: another scheme, a user, a backslash or space, letters
/// that are not ASCII, and an IP address instead of a domain, in any spelling (WHATWG: a host whose last label is a
/// number, also 0x7f.1).
Url parse_url(std::string_view text);

/// What a redirection that `base` answered with points to.
Url resolve_url(const Url& base, std::string_view location);

}  // namespace ivl::http

#ifndef IVL_COMPILED
#include "ivl/http/url.ipp"
#endif
