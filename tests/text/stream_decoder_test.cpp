#include "ivl/text/stream_decoder.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "small_tokenizer.hpp"

using namespace ivl;

namespace {

using Strings = std::vector<std::string>;

/// A token for each byte, and some of several.
const Tokenizer& tokenizer() {
  static const Tokenizer small = Tokenizer::from_json(
      small_tokenizer::description(
          {{"a", "b"}, {"ab", "c"}, {"abc", "abc"}, {small_tokenizer::letter(0xF0), small_tokenizer::letter(0x9F)}})
          .dump());
  return small;
}

int byte(int value) { return *tokenizer().id_of(std::string(1, char(value))); }

std::string all_of(StreamDecoder& stream, const std::vector<int>& ids) {
  std::string text;
  for (const int id : ids) text += stream.push(id);
  text += stream.finish();
  return text;
}

/// By the definition: of all stop strings in the text the one that ends first, and of those the longest.
std::string cut_at_stop(const std::string& text, const Strings& stops) {
  std::size_t end = text.size() + 1, start = text.size();
  for (const std::string& stop : stops) {
    const std::size_t at = text.find(stop);
    if (at == std::string::npos || at + stop.size() > end || (at + stop.size() == end && at > start)) continue;
    end = at + stop.size();
    start = at;
  }
  return text.substr(0, start);
}

}  // namespace

TEST_CASE("a character is given when its last byte has come, and not before") {
  StreamDecoder stream(tokenizer());
  for (const std::string character : {"a", "é", "漢", "🙂"}) {
    for (std::size_t at = 0; at + 1 < character.size(); ++at) CHECK(stream.push(byte(character[at])) == "");
    CHECK(stream.push(byte(character.back())) == character);
  }
  // gpt-oss cuts a thumbs up of medium skin so: the second token ends inside the second character.
  CHECK(stream.push(*tokenizer().id_of("\xF0\x9F")) == "");
  CHECK(stream.push(byte(0x8F)) == "");
  CHECK(stream.push(byte(0xBD)) == "🏽");
  CHECK(stream.finish() == "");
}

TEST_CASE("bytes that cannot become a character are given up at once, and an open end only at the end") {
  StreamDecoder stream(tokenizer());
  CHECK(stream.push(byte(0xFF)) == "\uFFFD");
  CHECK(stream.push(byte(0xE6)) == "");
  CHECK(stream.push(byte('a')) == "\uFFFDa");
  CHECK(stream.push(byte(0xE6)) == "");
  CHECK(stream.push(byte(0xBC)) == "");
  CHECK(stream.finish() == "\uFFFD");
  CHECK(stream.finish() == "");
}

TEST_CASE("special tokens are skipped or kept, and do not break a character apart when skipped") {
  const int special = *tokenizer().id_of("<|special|>");
  StreamDecoder skip(tokenizer()), keep(tokenizer(), {}, SpecialTokens::keep);
  const std::vector<int> ids{byte(0xC3), special, byte(0xA9)};
  CHECK(all_of(skip, ids) == "é");
  CHECK(all_of(skip, ids) == tokenizer().decode(ids));
  CHECK(all_of(keep, ids) == tokenizer().decode(ids, SpecialTokens::keep));
}

TEST_CASE("a stop string is found across tokens, and what might begin one is held back") {
  StreamDecoder stream(tokenizer(), {"###", "bcd"});
  CHECK(stream.push(byte('#')) == "");
  CHECK(stream.push(byte('#')) == "");
  CHECK(stream.push(byte('a')) == "##a");
  CHECK(stream.push(byte('#')) == "");
  CHECK(stream.push(*tokenizer().id_of("abcabc")) == "#abca");  // holds "bc"
  CHECK_FALSE(stream.stopped_by());
  CHECK(stream.push(byte('d')) == "");
  CHECK(stream.stopped_by() == 1);
  CHECK(stream.push(byte('x')) == "");
  CHECK(stream.finish() == "");

  stream.reset();
  CHECK_FALSE(stream.stopped_by());
  CHECK(stream.push(byte('b')) == "");
  CHECK(stream.finish() == "b");
}

TEST_CASE("a stop string that one generation began is not ended by the next one") {
  StreamDecoder stream(tokenizer(), {"bcd"});
  CHECK(stream.push(byte('b')) == "");
  stream.reset();
  CHECK(all_of(stream, {byte('c'), byte('d')}) == "cd");
  CHECK_FALSE(stream.stopped_by());
}

TEST_CASE("a stop string may lie inside one token, or be completed by the replacement of an open end") {
  StreamDecoder inside(tokenizer(), {"ca"});
  CHECK(inside.push(*tokenizer().id_of("abcabc")) == "ab");
  CHECK(inside.stopped_by() == 0);
  StreamDecoder open(tokenizer(), {"x\uFFFD"});
  CHECK(open.push(byte('x')) == "");
  CHECK(open.push(byte(0xC3)) == "");
  CHECK(open.finish() == "");
  CHECK(open.stopped_by() == 0);
}

TEST_CASE("where the text is cut does not depend on where tokens end") {
  std::uint32_t state = 3;
  const auto draw = [&](std::uint32_t below) { return ((state = state * 1664525u + 1013904223u) >> 10) % below; };
  const auto random_text = [&](std::uint32_t size) {
    std::string text;
    while (text.size() < size) text += draw(9) == 0 ? "é" : std::string(1, char('a' + draw(3)));
    return text;
  };
  int cut = 0;
  for (int round = 0; round < 2000; ++round) {
    Strings stops;
    for (std::uint32_t left = 1 + draw(3); left > 0; --left) stops.push_back(random_text(1 + draw(6)));
    const std::string text = random_text(30);
    const std::string want = cut_at_stop(text, stops);
    cut += want != text;
    std::vector<int> bytes;
    for (const char c : text) bytes.push_back(byte(c));
    StreamDecoder by_byte(tokenizer(), stops), by_token(tokenizer(), stops);
    CAPTURE(text);
    CAPTURE(stops[0]);
    REQUIRE(all_of(by_byte, bytes) == want);
    REQUIRE(all_of(by_token, tokenizer().encode(text)) == want);
    REQUIRE(by_byte.stopped_by() == by_token.stopped_by());
    REQUIRE(by_byte.stopped_by().has_value() == (want != text));
  }
  CHECK(cut > 500);
  CHECK(cut < 2000);
}

TEST_CASE("a stop string that is empty or not UTF-8 is refused") {
  CHECK_THROWS_AS(StreamDecoder(tokenizer(), {"ok", ""}), RequestError);
  CHECK_THROWS_AS(StreamDecoder(tokenizer(), {"\xC3"}), RequestError);
}

TEST_CASE("streaming moves no memory once it is set up") {
  StreamDecoder stream(tokenizer(), {"never this"});
  const char* memory = nullptr;
  for (int round = 0; round < 1000; ++round) {
    const int id = round % 3 == 0 ? *tokenizer().id_of("abcabc") : byte(round % 256);
    const std::string_view text = stream.push(id);
    if (memory == nullptr) memory = text.data();
    REQUIRE(text.data() == (text.empty() ? text.data() : memory));
  }
}
