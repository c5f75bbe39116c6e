// Text from outside, safe to print in an error.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace ivl {

/// `text` in single quotes, at most 100 bytes of it, unprintable bytes as `\xNN`: safe to print whatever a file holds.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t max_bytes = 100;
  constexpr char digits[] = "0123456789abcdef";
  std::string result = "'";
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      (result += "\\x") += {digits[byte / 16], digits[byte % 16]};
    } else {
      result += c;
    }
  }
  return result + (text.size() > max_bytes ? "...'" : "'");
}

}  // namespace ivl
