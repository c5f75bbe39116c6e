// The bodies of url.hpp.
#pragma once
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/http/url.hpp"

namespace ivl::http {

namespace detail {

inline constexpr std::string_view digits = "0123456789", hex_digits = "0123456789abcdefABCDEF";

inline bool is_all_of(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == text.npos;
}

/// The domain in lower case. Throws RequestError with the rule that it breaks.
inline std::string checked_host(std::string_view host) {
  const auto refuse = [&](const char* rule) { fail<RequestError>("URL: the host ", in_quotes(host), ": ", rule); };
  std::string lower(host);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  if (lower == "[") refuse("expected a domain, found an IP address");
  if (lower.size() > 253) refuse("expected at most 253 characters");
  std::string_view last;
  for (std::size_t begin = 0; begin <= lower.size();) {
    const std::size_t end = std::min(lower.find('.', begin), lower.size());
    last = std::string_view(lower).substr(begin, end - begin);
    if (last.empty() || last.size() > 63) refuse("expected labels of 1 to 63 characters between dots");
    if (!is_all_of(last, "abcdefghijklmnopqrstuvwxyz0123456789-")) refuse("expected letters, digits, '-' and '.'");
    begin = end + 1;
  }
  const bool is_hex = last.starts_with("0x") && is_all_of(last.substr(2), hex_digits);
  if (is_hex || is_all_of(last, digits)) refuse("expected a domain, found an IP address");
  return lower;
}

inline std::uint16_t checked_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > 65535)
    fail<RequestError>("URL: the port ", in_quotes(text), ": expected a number from 1 to 65535");
  return std::uint16_t(port);
}

/// Throws RequestError where RFC 3986 allows no such character, in no part.
inline void check_characters(std::string_view text) {
  constexpr std::size_t max_bytes = 8192;
  if (text.size() > max_bytes) fail<RequestError>("URL: expected at most ", max_bytes, " bytes, found ", text.size());
  constexpr std::string_view others = "-._~:/?#[]@!$&'()*+,;=%";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!is_letter && others.find(c) == others.npos)
      fail<RequestError>("URL: expected characters of RFC 3986, found ", in_quotes(text.substr(i, 1)));
    if (c == '%' && (i + 2 >= text.size() || !is_all_of(text.substr(i + 1, 2), hex_digits)))
      fail<RequestError>("URL: expected two hexadecimal digits behind '%', found ", in_quotes(text.substr(i + 1, 2)));
  }
}

}  // namespace detail

IVL_INLINE Url parse_url(std::string_view text) {
  detail::check_characters(text);
  constexpr std::string_view scheme = "https://";
  std::string begin(text.substr(0, scheme.size()));
  for (char& c : begin) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  if (begin != scheme) fail<RequestError>("URL: expected https://, found ", in_quotes(text.substr(0, scheme.size())));
  text.remove_prefix(scheme.size());
  text = text.substr(0, text.find('#'));
  const std::size_t end = std::min(text.find_first_of("/?"), text.size());
  std::string_view authority = text.substr(0, end);
  if (authority.find('@') != authority.npos) fail<RequestError>("URL: expected a host, found a user in front of it");
  Url url;
  if (authority.starts_with('[')) authority = authority.substr(0, 1);  // IPv6 with its colons: refused as a host
  const std::size_t colon = authority.find(':');
  url.host = detail::checked_host(authority.substr(0, colon));
  if (colon != authority.npos) url.port = detail::checked_port(authority.substr(colon + 1));
  url.target = text.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  return url;
}

IVL_INLINE Url resolve_url(const Url& base, std::string_view location) {
  detail::check_characters(location);
  location = location.substr(0, location.find('#'));
  if (location.starts_with("//")) return parse_url("https:" + std::string(location));
  if (location.substr(0, location.find_first_of("/?")).find(':') != location.npos) return parse_url(location);
  Url url = base;
  const std::string_view path = std::string_view(base.target).substr(0, base.target.find('?'));
  if (location.starts_with('/')) {
    url.target = location;
  } else if (location.starts_with('?')) {
    url.target = std::string(path) + std::string(location);
  } else if (!location.empty()) {
    url.target = std::string(path.substr(0, path.rfind('/') + 1)) + std::string(location);
  }
  return url;
}

}  // namespace ivl::http
