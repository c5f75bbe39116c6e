// The bodies of data_url.hpp.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/http/data_url.hpp"

namespace ivl::http {

namespace detail {

/// The six bits of each letter; 64 where it is none.
inline constexpr std::array<std::uint8_t, 256> base64_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(64);
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < letters.size(); ++i) values[static_cast<unsigned char>(letters[i])] = std::uint8_t(i);
  return values;
}();

/// How many bytes base64 of this length means.
inline std::size_t base64_bytes(std::string_view text) {
  return text.size() / 4 * 3 - (text.ends_with('=') ? 1 : 0) - (text.ends_with("==") ? 1 : 0);
}

}  // namespace detail

IVL_INLINE std::string decode_base64(std::string_view text) {
  if (text.empty()) return {};
  if (text.size() % 4 != 0) fail<RequestError>("base64: expected a multiple of 4 letters, found ", text.size());
  const std::size_t bytes = detail::base64_bytes(text);
  const std::size_t letters = text.size() - (text.size() / 4 * 3 - bytes);
  std::string result;
  result.reserve(bytes);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < letters; ++i) {
    const std::uint32_t value = detail::base64_values[static_cast<unsigned char>(text[i])];
    if (value == 64)
      fail<RequestError>("base64: expected A-Z, a-z, 0-9, + and /, found ", in_quotes(text.substr(i, 1)), " at ", i);
    bits = bits << 6 | value;
    const int ready = int(i % 4) * 2;  // bits of the next byte that are left over, but for the first letter of four
    if (ready > 0) result += char(bits >> (6 - ready) & 255);
  }
  const std::uint32_t beyond = letters % 4 == 0 ? 0 : (letters % 4 == 2 ? 15u : 3u);
  if (bits & beyond) fail<RequestError>("base64: expected no bits beyond the last byte, found some");
  return result;
}

IVL_INLINE DataUrl parse_data_url(std::string_view text, std::size_t max_bytes) {
  constexpr std::string_view scheme = "data:", encoding = ";base64";
  constexpr std::size_t max_header_bytes = 256;
  const std::size_t comma = text.substr(0, max_header_bytes).find(',');
  if (comma == text.npos) fail<RequestError>("data URL: expected ',' within ", max_header_bytes, " bytes, found none");
  std::string header(text.substr(0, comma));
  for (char& c : header) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  if (!header.starts_with(scheme))
    fail<RequestError>("data URL: expected 'data:', found ", in_quotes(text.substr(0, 5)));
  if (!header.ends_with(encoding)) fail<RequestError>("data URL: expected ';base64,', found ", in_quotes(header));
  text.remove_prefix(comma + 1);
  const std::size_t bytes = detail::base64_bytes(text);
  if (bytes > max_bytes) fail<RequestError>("data URL: expected at most ", max_bytes, " bytes, found ", bytes);
  const std::string media_type = header.substr(scheme.size(), header.find(';') - scheme.size());
  return {media_type, decode_base64(text)};
}

}  // namespace ivl::http
