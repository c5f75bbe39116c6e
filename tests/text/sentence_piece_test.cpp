#include "ivl/text/sentence_piece_file.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/tokenizer.hpp"

using namespace ivl;

namespace {

namespace fs = std::filesystem;

const fs::path sentence_piece_golden = fs::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer";

/// What a golden file says of the tokenizer in `folder`: ids, texts, and the same texts token by token.
void check_sentence_piece(const fs::path& folder, const std::string& name) {
  const auto want = nlohmann::json::parse(detail::read_text(sentence_piece_golden / (name + ".json")));
  const Tokenizer tokenizer = Tokenizer::from_folder(folder);
  CHECK(tokenizer.size() == want["size"]);
  CHECK(tokenizer.bos() == want["bos"].get<int>());
  int strings = 0, decoded = 0;
  for (const auto& entry : want["encode"]) {
    const std::string text = entry["text"];
    const auto ids = entry["ids"].get<std::vector<int>>();
    CAPTURE(text);
    ++strings;
    CHECK(tokenizer.encode(text) == ids);
    if (!entry.contains("decoded")) continue;
    ++decoded;
    const std::string wanted = entry["decoded"];
    CHECK(tokenizer.decode(ids, SpecialTokens::keep) == wanted);
    StreamDecoder stream(tokenizer, {}, SpecialTokens::keep);
    std::string streamed;
    for (const int id : ids) streamed += stream.push(id);
    streamed += stream.finish();
    CHECK(streamed == wanted);
  }
  CHECK(strings >= 500);
  CHECK(decoded >= 400);
}

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
    check_sentence_piece(sentence_piece_golden / name, name);
  }
}

TEST_CASE("a tokenizer.json made from a SentencePiece model gives the ids and texts of the tokenizers library") {
  const fs::path folder = fs::path(IVL_SHARED_DIR) / "data/tokenizers/internlm2_base";
  if (fs::exists(folder))
    check_sentence_piece(folder, "internlm2_base");
  else
    MESSAGE("skipped: no ../shared/data/tokenizers/internlm2_base");
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
