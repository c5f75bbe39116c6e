// Base64 (RFC 4648, section 4), strictly: padded, in its one alphabet, with nothing between and no bits left over.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ivl::openai {

/// The bytes; nothing where the text is none.
inline std::optional<std::string> from_base64(std::string_view text) {
  static constexpr auto values = [] {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t n = 0; n < alphabet.size(); ++n) values[std::uint8_t(alphabet[n])] = std::int8_t(n);
    return values;
  }();
  if (text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string bytes;
  bytes.reserve((text.size() + 3) / 4 * 3);
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const int value = values[std::uint8_t(c)];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | std::uint32_t(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes += char(bits >> held & 0xff);
  }
  if ((bits & ((1u << held) - 1)) != 0) return std::nullopt;
  return bytes;
}

}  // namespace ivl::openai
