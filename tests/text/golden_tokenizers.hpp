// What the golden files of tests/golden/tokenizer say about a tokenizer, wherever it was read from.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::test {

inline std::filesystem::path tokenizer_golden() {
  return std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer";
}

/// The folder of a real tokenizer; empty, and said so, where it is not there.
inline std::filesystem::path real_tokenizer(const std::string& name) {
  const auto folder = std::filesystem::path(IVL_SHARED_DIR) / "data/tokenizers" / name;
  if (std::filesystem::exists(folder)) return folder;
  MESSAGE("skipped: no ../shared/data/tokenizers/", name);
  return {};
}

inline std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t at = 0; at < hex.size(); at += 2) bytes += char(std::stoi(hex.substr(at, 2), nullptr, 16));
  return bytes;
}

/// All that a golden file of the `tokenizers` library says about a byte-level tokenizer. `made_special`: ids that are
/// not special there.
inline void check_byte_level(const Tokenizer& tokenizer, const std::string& name,
                             const std::vector<int>& made_special = {}) {
  const auto want = nlohmann::json::parse(detail::read_text(tokenizer_golden() / (name + ".json")));
  CHECK(tokenizer.size() == want["size"]);
  int strings = 0;
  for (const auto& entry : want["encode"]) {
    const std::string text = entry["text"];
    ++strings;
    CAPTURE(text);
    if (tokenizer.encode(text) != entry["ids"].get<std::vector<int>>())
      CHECK(tokenizer.encode(text) == entry["ids"].get<std::vector<int>>());
  }
  CHECK(strings >= 500);
  for (const auto& entry : want["encode_newer_than_unicode_14"]) {
    const std::string text = entry["text"];
    CAPTURE(text);
    CHECK(tokenizer.encode(text) == entry["ids"].get<std::vector<int>>());
  }

  // The reference's switch leaves added tokens whole that are not special; ours does not.
  int untrusted = 0;
  for (const auto& entry : want["encode_special_as_text"]) {
    const auto ids = entry["ids"].get<std::vector<int>>();
    const int first_added = *tokenizer.id_of("<|endoftext|>");
    if (std::any_of(ids.begin(), ids.end(), [&](int id) { return id >= first_added; })) continue;
    ++untrusted;
    const std::string text = entry["text"];
    CAPTURE(text);
    CHECK(tokenizer.encode(text, AddedTokens::as_text) == ids);
  }
  CHECK(untrusted >= 50);

  for (const auto& entry : want["encode_invalid_utf8"]) {
    const std::string bytes = bytes_of_hex(entry["bytes"]);
    CAPTURE(entry["bytes"]);
    CHECK(to_utf8(bytes) == entry["text"].get<std::string>());
    CHECK(tokenizer.encode(bytes) == entry["ids"].get<std::vector<int>>());
  }

  int decoded = 0;
  for (const auto& entry : want["decode"]) {
    const auto ids = entry["ids"].get<std::vector<int>>();
    CAPTURE(entry["ids"].dump());
    ++decoded;
    CHECK(tokenizer.decode(ids, SpecialTokens::keep) == entry["text"].get<std::string>());
    if (std::ranges::find_first_of(ids, made_special) == ids.end())
      CHECK(tokenizer.decode(ids) == entry["skip_special_tokens"].get<std::string>());
    StreamDecoder stream(tokenizer, {}, SpecialTokens::keep);
    std::vector<std::string> pieces;
    for (const int id : ids) pieces.emplace_back(stream.push(id));
    pieces.emplace_back(stream.finish());
    CHECK(pieces == entry["streamed"].get<std::vector<std::string>>());
  }
  CHECK(decoded >= 200);
}

inline std::string streamed(StreamDecoder& stream, const std::vector<int>& ids) {
  std::string text;
  for (const int id : ids) text += stream.push(id);
  text += stream.finish();
  return text;
}

/// What a golden file says of a SentencePiece tokenizer: ids, texts, and the same texts token by token.
inline void check_sentence_piece(const Tokenizer& tokenizer, const std::string& name) {
  const auto want = nlohmann::json::parse(detail::read_text(tokenizer_golden() / (name + ".json")));
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
    CHECK(streamed(stream, ids) == wanted);
  }
  CHECK(strings >= 500);
  CHECK(decoded >= 400);

  for (const SpecialTokens policy : {SpecialTokens::keep, SpecialTokens::skip}) {
    int lists = 0;
    for (const auto& entry : want["decode"]) {
      const char* key = policy == SpecialTokens::keep ? "text" : "skip_special_tokens";
      if (!entry.contains(key)) continue;
      ++lists;
      CAPTURE(entry.dump());
      const std::string wanted = entry[key];
      const auto ids = entry["ids"].get<std::vector<int>>();
      CHECK(tokenizer.decode(ids, policy) == wanted);
      StreamDecoder stream(tokenizer, {}, policy);
      CHECK(streamed(stream, ids) == wanted);
    }
    CHECK((lists >= 150 || (policy == SpecialTokens::skip && tokenizer.decoding().kind == Decoding::byte_fallback)));
  }
}

}  // namespace ivl::test
