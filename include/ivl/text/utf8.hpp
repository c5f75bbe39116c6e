// UTF-8: one step at a time, and replacement of what is not well-formed (Unicode 15, table 3-7 and section 3.9).
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ivl {

/// What stands at the start of some bytes.
struct Utf8Step {
  enum class Kind { whole, invalid, truncated };
  Kind kind;
  int bytes;            ///< of the character; or of the maximal invalid subpart; or all that is left of a truncated one
  char32_t code_point;  ///< U+FFFD unless `whole`
};

/// `bytes` must not be empty. `truncated`: the bytes end inside a sequence that is well-formed so far.
inline Utf8Step utf8_step(std::string_view bytes) {
  constexpr char32_t replacement = 0xFFFD;
  const auto byte = [&](std::size_t at) { return std::uint8_t(bytes[at]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8Step::Kind::whole, 1, lead};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Step::Kind::invalid, 1, replacement};
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte also rules out overlong forms, surrogates and everything above U+10FFFF.
  const std::uint8_t second_from = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t second_to = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code_point = char32_t(lead & (0xFF >> (length + 1)));
  for (int at = 1; at < length; ++at) {
    if (std::size_t(at) == bytes.size()) return {Utf8Step::Kind::truncated, at, replacement};
    const std::uint8_t next = byte(std::size_t(at));
    if (next < (at == 1 ? second_from : 0x80) || next > (at == 1 ? second_to : 0xBF))
      return {Utf8Step::Kind::invalid, at, replacement};
    code_point = (code_point << 6) | (next & 0x3Fu);
  }
  return {Utf8Step::Kind::whole, length, code_point};
}

/// How many bytes at the start are ASCII.
inline std::size_t ascii_prefix(std::string_view bytes) {
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes.data() + at, 8);
    if (eight & 0x8080808080808080u) break;
  }
  while (at < bytes.size() && std::uint8_t(bytes[at]) < 0x80) ++at;
  return at;
}

inline bool is_utf8(std::string_view bytes) {
  for (bytes.remove_prefix(ascii_prefix(bytes)); !bytes.empty(); bytes.remove_prefix(ascii_prefix(bytes))) {
    const Utf8Step step = utf8_step(bytes);
    if (step.kind != Utf8Step::Kind::whole) return false;
    bytes.remove_prefix(std::size_t(step.bytes));
  }
  return true;
}

/// Appends `bytes` to `text`; each maximal invalid subpart becomes one U+FFFD. A truncated sequence at the end is left
/// alone, and its length (0 to 3) is returned.
inline std::size_t append_utf8(std::string& text, std::string_view bytes) {
  while (!bytes.empty()) {
    if (const std::size_t ascii = ascii_prefix(bytes); ascii > 0) {
      text.append(bytes.substr(0, ascii));
      bytes.remove_prefix(ascii);
      continue;
    }
    const Utf8Step step = utf8_step(bytes);
    if (step.kind == Utf8Step::Kind::truncated) return bytes.size();
    text.append(step.kind == Utf8Step::Kind::whole ? bytes.substr(0, std::size_t(step.bytes)) : "\uFFFD");
    bytes.remove_prefix(std::size_t(step.bytes));
  }
  return 0;
}

/// `bytes` with each maximal invalid subpart replaced by U+FFFD, as Python's decode(errors="replace") does.
inline std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  if (append_utf8(text, bytes) > 0) text += "\uFFFD";
  return text;
}

}  // namespace ivl
