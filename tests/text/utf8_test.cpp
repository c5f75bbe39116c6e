#include "ivl/text/utf8.hpp"

#include <doctest/doctest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <string>

#include "ivl/text/nfc.hpp"

using namespace ivl;

namespace {

std::string encoded(char32_t code_point) {
  utf8proc_uint8_t bytes[4];
  const auto count = utf8proc_encode_char(utf8proc_int32_t(code_point), bytes);
  return std::string(reinterpret_cast<const char*>(bytes), std::size_t(count));
}

std::string reference_nfc(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                                 &out, utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string result(reinterpret_cast<const char*>(out), std::size_t(size));
  std::free(out);
  return result;
}

}  // namespace

TEST_CASE("every code point is one whole step, and surrogates are none") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string bytes = encoded(c);
    const Utf8Step step = utf8_step(bytes);
    if (step.kind != Utf8Step::Kind::whole || step.code_point != c || step.bytes != int(bytes.size()))
      REQUIRE(int(c) == -1);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut)
      if (utf8_step(std::string_view(bytes).substr(0, cut)).kind != Utf8Step::Kind::truncated) REQUIRE(int(c) == -2);
  }
  CHECK_FALSE(is_utf8("\xED\xA0\x80"));
  CHECK_FALSE(is_utf8("\xF4\x90\x80\x80"));
  CHECK_FALSE(is_utf8("\xC0\xAF"));
  CHECK_FALSE(is_utf8("ok \xE2\x82"));
}

TEST_CASE("each maximal invalid subpart becomes one replacement character") {
  // Unicode 15, table 3-8 and its neighbours.
  CHECK(to_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64") == "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  CHECK(to_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  CHECK(to_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  CHECK(to_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB");
  CHECK(to_utf8("longer than eight bytes \xE2\x82") == "longer than eight bytes \uFFFD");
  CHECK(to_utf8("") == "");
}

TEST_CASE("what the quick look calls NFC is left alone by normalisation, beside any neighbour") {
  int sure = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if ((c >= 0xD800 && c < 0xE000) || !surely_nfc(encoded(c))) continue;
    ++sure;
    // Hangul and Latin letters in front: the characters that compose with what follows them.
    for (const char* before : {"", "a", "\uAC00", "\u1100", "\u0928", "\u304B"}) {
      const std::string text = before + encoded(c) + "a";
      if (reference_nfc(text) != text) REQUIRE(int(c) == -1);
    }
  }
  CHECK(sure > 40'000);
  CHECK_FALSE(surely_nfc("cafe\u0301"));
  CHECK_FALSE(surely_nfc("\u212B"));
}

TEST_CASE("NFC agrees with utf8proc, which orders marks another way") {
  std::uint32_t state = 1;
  const auto draw = [&](std::uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
  };
  const char32_t some[] = {'a',   'E',   0x301, 0x323,   0x302,   0x338,  0x1100, 0x1161, 0x11A8, 0xAC00,
                           0x958, 0x93C, 0x915, 0x212B,  0x2126,  0xF900, 0x2ADC, 0x344,  0xF71,  0xF80,
                           0xFB2, 0x5D9, 0x5B4, 0x1D15E, 0x1F642, ' ',    0x345,  0x3B1};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint32_t left = 1 + draw(12); left > 0; --left)
      text += encoded(some[draw(std::uint32_t(std::size(some)))]);
    if (to_nfc(text) != reference_nfc(text)) REQUIRE(to_nfc(text) == reference_nfc(text));
  }
  CHECK(to_nfc("") == "");
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const std::string text = encoded(c);
    if (to_nfc(text) != reference_nfc(text)) REQUIRE(int(c) == -1);
  }
}

TEST_CASE("a long run of marks is put in order in a moment") {
  std::string marks = "a";
  for (int i = 0; i < 200'000; ++i) marks += "\u0301\u0323";
  const std::string normal = to_nfc(marks);
  CHECK(
      normal.starts_with("\u1EA1\u0323\u0323"));  // dots below (class 220) before acutes (230), the first one composed
  CHECK(normal.ends_with("\u0301\u0301"));
}
