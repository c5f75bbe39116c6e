#include "ivl/text/sentence_piece_file.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "golden_tokenizers.hpp"
#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ivl;

namespace {

namespace fs = std::filesystem;

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += char(value | 0x80);
  return bytes += char(value);
}
std::string number_field(int number, std::uint64_t value) { return varint(std::uint64_t(number) << 3) + varint(value); }
std::string bytes_field(int number, std::string_view bytes) {
  return varint(std::uint64_t(number) << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}
std::string piece_field(std::string_view text, std::uint64_t type, float score = 0) {
  std::string bits(sizeof score, '\0');
  std::memcpy(bits.data(), &score, sizeof score);
  return bytes_field(1, bytes_field(1, text) + varint(2 << 3 | 5) + bits + number_field(3, type));
}
/// A model of all bytes and one letter; `trainer` and `normalizer` are put behind what makes it right.
std::string small_model(const std::string& pieces = {}, const std::string& trainer = {},
                        const std::string& normalizer = {}) {
  std::string model = piece_field("<unk>", 2) + piece_field("<s>", 3);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    model += piece_field(std::string("<0x") + digits[std::size_t(byte / 16)] + digits[std::size_t(byte % 16)] + ">", 6);
  }
  return model + piece_field("a", 1) + pieces + bytes_field(2, number_field(3, 2) + number_field(35, 1) + trainer) +
         bytes_field(3, normalizer);
}

/// A folder with a tokenizer.model, and perhaps a tokenizer_config.json beside it.
Tokenizer tokenizer_of(const std::string& model, const std::string& config = {}) {
  const test::TemporaryFolder folder;
  folder.write("tokenizer.model", model);
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return Tokenizer::from_folder(folder.path());
}

/// SentencePiece's BPE by its definition: of all neighbours that are a piece together, those with the highest score,
/// and of equal ones the leftmost, are joined.
std::vector<std::string> plain_sentence_piece(const std::string& text, const std::map<std::string, float>& scores) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  for (;;) {
    std::size_t best = symbols.size();
    float best_score = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at) {
      const auto found = scores.find(symbols[at] + symbols[at + 1]);
      if (found == scores.end() || (best < symbols.size() && found->second <= best_score)) continue;
      best = at;
      best_score = found->second;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + std::ptrdiff_t(best) + 1);
  }
}

std::string refusal(const std::string& model) {
  try {
    sentence_piece_parts(model);
    return "";
  } catch (const FileError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a tokenizer.model gives the ids and texts of the sentencepiece library") {
  for (const char* name : {"sentence_piece", "sentence_piece_trimmed"}) {
    CAPTURE(name);
    test::check_sentence_piece(Tokenizer::from_folder(test::tokenizer_golden() / name), name);
  }
}

TEST_CASE("a tokenizer.json made from a SentencePiece model gives the ids and texts of the tokenizers library") {
  if (const fs::path folder = test::real_tokenizer("internlm2_base"); !folder.empty())
    test::check_sentence_piece(Tokenizer::from_folder(folder), "internlm2_base");
}

TEST_CASE("a tokenizer.model that is not what this library runs is refused by name") {
  CHECK(refusal(small_model()) == "");
  CHECK(refusal(small_model({}, number_field(3, 1))).find("expected model type 2 (BPE), found 1") != std::string::npos);
  CHECK(refusal(small_model({}, number_field(35, 0))).find("byte_fallback") != std::string::npos);
  CHECK(refusal(small_model({}, {}, bytes_field(2, "map"))).find("character map") != std::string::npos);
  CHECK(refusal(small_model({}, {}, number_field(5, 0))).find("escape_whitespaces") != std::string::npos);
  CHECK(refusal(small_model(piece_field("b", 5))).find("\"b\": its type 5") != std::string::npos);
  CHECK(refusal(small_model(piece_field("", 1))).find("expected UTF-8 text") != std::string::npos);
  CHECK(refusal(small_model(piece_field("\xFF", 1))).find("expected UTF-8 text") != std::string::npos);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(refusal(small_model(piece_field("ab", 1, nan))).find("a number as its score, found NaN") != std::string::npos);
  CHECK(refusal(small_model(piece_field(std::string(1025, 'a'), 1))).find("at most 1024 bytes") != std::string::npos);
}

TEST_CASE("a tokenizer.model that is cut short or is no protocol buffer is one clear error") {
  const std::string model = small_model();
  CHECK(refusal(model.substr(0, model.size() - 1)).find("truncated") != std::string::npos);
  CHECK(refusal(model.substr(0, 5)).find("truncated") != std::string::npos);
  CHECK(refusal("\x0F").find("wire type 7") != std::string::npos);
  CHECK(refusal(std::string(11, '\xFF')).find("more than 64 bits") != std::string::npos);
  CHECK(refusal("").find("model type") != std::string::npos);
}

TEST_CASE("a piece is merged from every cut into two pieces, and the piece with the higher score goes first") {
  using Merges = std::vector<std::pair<std::string, std::string>>;
  const auto merges = [](float score_of_two, float score_of_three) {
    return sentence_piece_parts(small_model(piece_field("aa", 1, score_of_two) + piece_field("aaa", 1, score_of_three)))
        .merges;
  };
  CHECK(merges(-1, -2) == Merges{{"a", "a"}, {"a", "aa"}, {"aa", "a"}});
  CHECK(merges(-2, -1) == Merges{{"a", "aa"}, {"aa", "a"}, {"a", "a"}});
}

TEST_CASE("of merges whose pieces score alike the leftmost goes first, be they into one piece or several") {
  std::uint32_t state = 5;
  const auto draw = [&](std::size_t below) { return ((state = state * 1664525u + 1013904223u) >> 8) % below; };
  for (int round = 0; round < 60; ++round) {
    // Even rounds: runs of one letter. Every third: no two scores are alike.
    std::map<std::string, float> scores;
    std::string pieces = round % 2 == 0 ? "" : piece_field("b", 1);
    for (int piece = 1; piece <= 8; ++piece) {
      std::string text;
      for (std::size_t size = 2 + draw(4); text.size() < size;) text += round % 2 == 0 ? 'a' : char('a' + draw(2));
      const auto score = float(round % 3 == 0 ? -piece : -int(draw(3)));
      if (scores.emplace(text, score).second) pieces += piece_field(text, 1, score);
    }
    const Tokenizer tokenizer = tokenizer_of(small_model(pieces, {}, number_field(3, 0) + number_field(4, 0)));
    for (std::size_t size = 1; size <= 40; ++size) {
      std::string text;
      while (text.size() < size) text += round % 2 == 0 ? 'a' : char('a' + draw(2));
      CAPTURE(text);
      std::vector<int> want;
      for (const std::string& symbol : plain_sentence_piece(text, scores))
        want.push_back(tokenizer.id_of(symbol).value());
      if (tokenizer.encode(text) != want) REQUIRE(tokenizer.encode(text) == want);
    }
  }
}

TEST_CASE("text without characters, or of nothing but spaces that are trimmed, has no ids") {
  for (const bool single_spaces : {false, true}) {
    CAPTURE(single_spaces);
    const Tokenizer tokenizer =
        tokenizer_of(small_model(piece_field("\u2581", 1), {}, number_field(3, 1) + number_field(4, single_spaces)));
    for (const AddedTokens policy : {AddedTokens::split, AddedTokens::as_text}) {
      CHECK(tokenizer.encode("", policy).empty());
      CHECK(tokenizer.encode("  ", policy).empty() == single_spaces);
      CHECK(tokenizer.encode("a", policy).size() == 2);
    }
  }
}

TEST_CASE("a prompt begins with <s> unless tokenizer_config.json says that it does not") {
  CHECK(tokenizer_of(small_model()).bos() == 1);
  CHECK(tokenizer_of(small_model(), R"({"add_bos_token": true})").bos() == 1);
  CHECK_FALSE(tokenizer_of(small_model(), R"({"add_bos_token": false})").bos());
}

TEST_CASE("each generation loses the space that was put before its text, and only that one") {
  const Tokenizer tokenizer = tokenizer_of(small_model(piece_field("\u2581", 1)));
  const std::vector<int> ids = tokenizer.encode("a a");
  StreamDecoder stream(tokenizer);
  for (int generation = 0; generation < 2; ++generation) {
    CAPTURE(generation);
    CHECK(test::streamed(stream, ids) == "a a");
    stream.reset();
  }
}

namespace {

/// A tokenizer.json of a SentencePiece model: "<unk>", the bytes, a space, "a", then <s> and <box>.
Tokenizer byte_fallback_tokenizer() {
  using Json = nlohmann::json;
  Json vocabulary{{"<unk>", 0}}, added = Json::array();
  for (int byte = 0; byte < 256; ++byte) {
    char text[7];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    vocabulary[text] = 1 + byte;
  }
  vocabulary["\u2581"] = 257;
  vocabulary["a"] = 258;
  for (const char* content : {"<s>", "<box>"})
    added.push_back({{"id", 259 + added.size()}, {"content", content}, {"special", true}, {"normalized", false}});
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const Json strip{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const Json prepend{{"type", "Prepend"}, {"prepend", "\u2581"}};
  const Json model{{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}, {"byte_fallback", true}};
  return Tokenizer::from_json(Json{
      {"added_tokens", added},
      {"normalizer", {{"type", "Sequence"}, {"normalizers", {prepend, replace(" ", "\u2581")}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", {replace("\u2581", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
      {"model", model}}.dump());
}

}  // namespace

TEST_CASE("a run of byte tokens that is not UTF-8 as a whole is a U+FFFD for each of its bytes in a tokenizer.json") {
  const Tokenizer tokenizer = byte_fallback_tokenizer();
  const auto text = [&](const std::vector<int>& ids) {
    StreamDecoder stream(tokenizer, {}, SpecialTokens::keep);
    const std::string decoded = tokenizer.decode(ids, SpecialTokens::keep);
    CHECK(test::streamed(stream, ids) == decoded);
    return decoded;
  };
  constexpr int space = 257, a = 258, box = 260;
  const auto byte = [](int value) { return 1 + value; };
  CHECK(text({byte(0xE4), byte(0xBD), byte(0xA0)}) == "\u4f60");
  CHECK(text({byte(0xF0), byte(0x9F), byte(0x99)}) == "\uFFFD\uFFFD\uFFFD");
  CHECK(text({byte('a'), byte(0xE4), byte(0xBD)}) == "\uFFFD\uFFFD\uFFFD");
  CHECK(text({byte('a'), byte('b'), a, byte(0xFF)}) == "aba\uFFFD");
  CHECK(text({byte(0xC3), box, byte(0xA9)}) == "\uFFFD<box>\uFFFD");
  // The first space of the text goes, whatever token it comes from, and no other.
  CHECK(text({byte(' '), a}) == "a");
  CHECK(text({space, space, a}) == " a");
  CHECK(text({box, space, a}) == "<box> a");
}

TEST_CASE("a run of byte tokens is shown once it has ended, and has any length") {
  const Tokenizer tokenizer = byte_fallback_tokenizer();
  StreamDecoder stream(tokenizer);
  std::string want;
  for (int i = 0; i < 5000; ++i) {
    CHECK(stream.push(1 + 0xC3).empty());
    CHECK(stream.push(1 + 0xA9).empty());
    want += "\u00e9";
  }
  CHECK(stream.push(258) == want + "a");
  CHECK(stream.push(1 + 'b') == "");
  CHECK(stream.finish() == "b");
}

TEST_CASE("text between added tokens comes back as it was, without the space that was put before it") {
  const Tokenizer tokenizer = tokenizer_of(small_model(piece_field("\u2581", 1), {}, number_field(4, 0)),
                                           R"({"added_tokens_decoder": {"260": {"content": "<box>", "special": true},
                                                "261": {"content": "</box>", "special": true}}})");
  for (const std::string text : {"<box>a</box>", "a<box> a</box>aa", "<box></box>a", " <box>a"}) {
    CAPTURE(text);
    const std::vector<int> ids = tokenizer.encode(text);
    StreamDecoder stream(tokenizer, {}, SpecialTokens::keep);
    CHECK(tokenizer.decode(ids, SpecialTokens::keep) == text);
    CHECK(test::streamed(stream, ids) == text);
  }
}
