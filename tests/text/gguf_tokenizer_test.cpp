#include "ivl/text/gguf_tokenizer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "golden_tokenizers.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

template <class Number>
std::string number_bytes(Number number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}
std::string gguf_text(std::string_view text) { return number_bytes(std::uint64_t(text.size())) += text; }

/// A file's keys of a tokenizer, each as kind and value.
struct TokenizerKeys {
  std::map<std::string, std::string> values;

  void set(const std::string& name, std::string_view text) { values[name] = number_bytes(8u) + gguf_text(text); }
  void set(const std::string& name, bool value) { values[name] = number_bytes(7u) + char(value); }
  void set(const std::string& name, std::uint32_t value) { values[name] = number_bytes(4u) + number_bytes(value); }
  void set(const std::string& name, const char* text) { set(name, std::string_view(text)); }
  void set(const std::string& name, const std::vector<std::string>& texts) {
    std::string bytes = number_bytes(9u) + number_bytes(8u) + number_bytes(std::uint64_t(texts.size()));
    for (const std::string& text : texts) bytes += gguf_text(text);
    values[name] = bytes;
  }
  template <class Number>
  void set(const std::string& name, std::uint32_t kind, const std::vector<Number>& numbers) {
    std::string bytes = number_bytes(9u) + number_bytes(kind) + number_bytes(std::uint64_t(numbers.size()));
    for (const Number number : numbers) bytes += number_bytes(number);
    values[name] = bytes;
  }

  Gguf file(const test::TemporaryFolder& folder) const {
    std::string bytes = "GGUF" + number_bytes(3u) + number_bytes(std::uint64_t(0));
    bytes += number_bytes(std::uint64_t(values.size()));
    for (const auto& [name, value] : values) bytes += gguf_text("tokenizer.ggml." + name) + value;
    return Gguf(folder.write("t.gguf", bytes));
  }
};

/// `parts` of a tokenizer.json as llama.cpp's converter writes them. Ids of tokens that it makes special go to
/// `made_special`.
TokenizerKeys converted(const TokenizerParts& parts, const char* pre, std::vector<int>& made_special) {
  std::map<int, std::pair<std::string, int>> tokens;
  for (const auto& [text, id] : parts.vocabulary) tokens[id] = {text, 1};
  for (const AddedToken& token : parts.added) {
    const bool looks_special = token.content.starts_with("<|") && token.content.ends_with("|>");
    tokens[token.id] = {token.content, token.special || looks_special ? 3 : 4};
    if (looks_special && !token.special) made_special.push_back(token.id);
  }
  std::vector<std::string> texts, merges;
  std::vector<std::int32_t> types;
  for (const auto& [id, token] : tokens) {
    texts.push_back(token.first);
    types.push_back(token.second);
  }
  REQUIRE(tokens.rbegin()->first + 1 == int(tokens.size()));
  for (const auto& [left, right] : parts.merges) merges.push_back(left + " " + right);
  TokenizerKeys keys;
  keys.set("model", "gpt2");
  keys.set("pre", pre);
  keys.set("tokens", texts);
  keys.set("token_type", 5, types);
  keys.set("merges", merges);
  return keys;
}

/// Two letters, their merge and the 256 bytes; the pieces of a SentencePiece model where `model` is "llama".
TokenizerKeys small_keys(const char* model) {
  const bool byte_level = std::string_view(model) == "gpt2";
  std::vector<std::string> texts;
  std::vector<std::int32_t> types;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int letter = itself ? byte : next++;
    if (!byte_level)
      texts.push_back(std::string("<0x") + digits[std::size_t(byte / 16)] + digits[std::size_t(byte % 16)] + ">");
    else if (letter < 0x80)
      texts.push_back(std::string(1, char(letter)));
    else
      texts.push_back({char(0xC0 | letter >> 6), char(0x80 | (letter & 0x3F))});
    types.push_back(byte_level ? 1 : 6);
  }
  for (const char* text : {"ab", "<think>", "<s>", "[PAD259]", "<|end|>", "[PAD261]", "[PAD262]"})
    texts.push_back(text);
  for (const int type : {1, 4, 3, 5, 3, 5, 5}) types.push_back(type);
  TokenizerKeys keys;
  keys.set("model", model);
  if (byte_level) {
    keys.set("pre", "qwen2");
    keys.set("merges", std::vector<std::string>{"a b"});
  } else {
    for (const char* text : {"a", "b"}) texts.push_back(text), types.push_back(1);
    keys.set("scores", 6, std::vector<float>(texts.size()));
    keys.set("bos_token_id", 258u);
    keys.set("add_space_prefix", false);
  }
  keys.set("tokens", texts);
  keys.set("token_type", 5, types);
  return keys;
}

std::string refusal_of(const std::function<void(TokenizerKeys&)>& change, const char* model = "gpt2") {
  TokenizerKeys keys = small_keys(model);
  change(keys);
  const test::TemporaryFolder folder;
  const Gguf file = keys.file(folder);
  std::string text = test::error_of<FileError>([&] { Tokenizer::from_gguf(file); });
  const std::string start = file.where() + ": ";
  return text.starts_with(start) ? text.substr(start.size()) : text;
}

TEST_CASE("small tokenizers in GGUF files give the ids and texts of those that they were made from") {
  const auto read = [](const char* name) { return Tokenizer::from_gguf(Gguf(test::tokenizer_golden() / name)); };
  const Tokenizer own = read("own.gguf");
  std::vector<int> made_special;
  for (const char* text :
       {"<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"})
    made_special.push_back(*own.id_of(text));
  test::check_byte_level(own, "own", made_special);
  CHECK_FALSE(own.bos());
  test::check_sentence_piece(read("sentence_piece.gguf"), "sentence_piece");
}

TEST_CASE("real tokenizers in GGUF files give the ids and texts of the tokenizers library") {
  for (const auto& [name, pre] :
       {std::pair{"internvl3", "qwen2"}, {"internvl3_5", "qwen2"}, {"internvl3_5_gpt_oss", "gpt-4o"}}) {
    CAPTURE(name);
    const auto real = test::real_tokenizer(name);
    if (real.empty()) continue;
    const test::TemporaryFolder folder;
    std::vector<int> made_special;
    const Gguf file = converted(tokenizer_parts(real), pre, made_special).file(folder);
    test::check_byte_level(Tokenizer::from_gguf(file), name, made_special);
  }
}

TEST_CASE("a file that names SmolLM2's pre-tokenizer splits digits from each other and may lack bytes") {
  const auto want = nlohmann::json::parse(detail::read_text(test::tokenizer_golden() / "own_smollm.json"));
  const test::TemporaryFolder folder;
  std::vector<int> made_special;
  TokenizerParts parts = tokenizer_parts(test::tokenizer_golden() / "own");
  for (auto& [text, id] : parts.vocabulary)
    if (text == "~") text = "~~~~";
  const Tokenizer tokenizer = Tokenizer::from_gguf(converted(parts, "smollm", made_special).file(folder));
  int strings = 0;
  for (const auto& entry : want["encode"]) {
    const std::string text = entry["text"];
    CAPTURE(text);
    ++strings;
    CHECK(tokenizer.encode(text) == entry["ids"].get<std::vector<int>>());
  }
  CHECK(strings >= 150);
}

TEST_CASE("rows without a token have no text, and those between tokens keep the ids in order") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::from_gguf(small_keys("gpt2").file(folder));
  CHECK(tokenizer.size() == 261);
  CHECK(tokenizer.encode("ab<think><|end|>") == std::vector{256, 257, 260});
  CHECK(tokenizer.encode("[PAD259]").size() == 8);
  CHECK(tokenizer.decode(std::vector{260, 257, 262}) == "<think>");
  CHECK(tokenizer.is_special(258));
  CHECK_FALSE(tokenizer.is_special(257));
  CHECK_FALSE(tokenizer.bos());
}

TEST_CASE("what a prompt begins with, and where a SentencePiece model's spaces go, is what the keys say") {
  const test::TemporaryFolder folder;
  TokenizerKeys keys = small_keys("llama");
  const auto encoded = [&](const char* text) { return Tokenizer::from_gguf(keys.file(folder)).encode(text); };
  CHECK(Tokenizer::from_gguf(keys.file(folder)).bos() == 258);
  CHECK(encoded("ab  ab ") == std::vector{256, 32, 32, 256, 32});
  keys.set("remove_extra_whitespaces", true);
  CHECK(encoded("ab  ab ") == std::vector{256, 32, 256});
  keys.values.erase("add_space_prefix");
  CHECK(encoded("ab  ab ") == std::vector{32, 256, 32, 256});
  keys.set("add_bos_token", false);
  CHECK_FALSE(Tokenizer::from_gguf(keys.file(folder)).bos());

  TokenizerKeys byte_level = small_keys("gpt2");
  byte_level.set("add_bos_token", true);
  byte_level.set("bos_token_id", 258u);
  CHECK(Tokenizer::from_gguf(byte_level.file(folder)).bos() == 258);
}

TEST_CASE("keys of a tokenizer that this library does not run are refused by name") {
  CHECK(refusal_of([](auto&) {}).empty());
  CHECK(refusal_of([](auto&) {}, "llama").empty());
  using Texts = std::vector<std::string>;
  CHECK(refusal_of([](auto& keys) { keys.set("model", "bert"); }) ==
        "key 'tokenizer.ggml.model': expected gpt2 or llama, found 'bert'");
  CHECK(refusal_of([](auto& keys) { keys.set("pre", "qwen35"); }) ==
        "key 'tokenizer.ggml.pre': expected one of qwen2, deepseek-r1-qwen, gpt-4o, llama4, smollm, found 'qwen35'");
  CHECK(refusal_of([](auto& keys) { keys.set("pre", "qwen2"); }, "llama") ==
        "key 'tokenizer.ggml.pre': expected default for llama, found 'qwen2'");
  CHECK(refusal_of([](auto& keys) { keys.values.erase("pre"); }) ==
        "key 'tokenizer.ggml.pre': expected a value, found none");
  CHECK(refusal_of([](auto& keys) { keys.set("add_eos_token", true); }) ==
        "key 'tokenizer.ggml.add_eos_token': expected false: a prompt does not end here");
  CHECK(refusal_of([](auto& keys) { keys.set("add_space_prefix", true); }) ==
        "key 'tokenizer.ggml.add_space_prefix': expected false for gpt2");
  CHECK(refusal_of([](auto& keys) { keys.set("precompiled_charsmap", 0, std::vector<char>{1}); }, "llama") ==
        "key 'tokenizer.ggml.precompiled_charsmap': a normaliser with a character map is not implemented");
  CHECK(refusal_of([](auto& keys) { keys.set("tokens", Texts{"a"}); }) ==
        "key 'tokenizer.ggml.token_type': expected 1 types as there are tokens, found 263");
  CHECK(refusal_of([](auto& keys) { keys.set("scores", 6, std::vector<float>{0}); }, "llama") ==
        "key 'tokenizer.ggml.scores': expected 265 scores as there are tokens, found 1");
  CHECK(refusal_of([](auto& keys) { keys.set("bos_token_id", 265u); }, "llama") ==
        "key 'tokenizer.ggml.bos_token_id': expected an id below 265, found 265");
  CHECK(refusal_of([](auto& keys) {
          keys.set("add_bos_token", true);
          keys.set("bos_token_id", 261u);
        }) == "key 'tokenizer.ggml.bos_token_id': expected an id below 261, found 261");
  CHECK(refusal_of([](auto& keys) { keys.set("merges", Texts{"ab"}); }) ==
        "merges: expected two tokens and a space between them, found \"ab\"");
  const auto two_tokens = [](const char* second, int type) {
    return [=](TokenizerKeys& keys) {
      keys.set("tokens", Texts{"a", second});
      keys.set("token_type", 5, std::vector<std::int32_t>{1, type});
    };
  };
  CHECK(refusal_of(two_tokens("", 1)) == "key 'tokenizer.ggml.tokens': token 1: expected UTF-8 text, found ''");
  CHECK(refusal_of(two_tokens("\xff", 3)) ==
        "key 'tokenizer.ggml.tokens': token 1: expected UTF-8 text, found '\\xff'");
  CHECK(refusal_of(two_tokens("b", 5)) == "key 'tokenizer.ggml.token_type': token 'b': type 5 is not implemented");
  CHECK(refusal_of(two_tokens("b", 7)) == "key 'tokenizer.ggml.token_type': token 'b': type 7 is not implemented");
  CHECK(refusal_of(two_tokens("b", 6)) == "key 'tokenizer.ggml.token_type': token 'b': gpt2 has no byte tokens");
  CHECK(refusal_of(two_tokens("b", 1)).starts_with("vocabulary: byte 0 has no token"));
}

}  // namespace
