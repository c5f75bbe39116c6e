// A tokenizer.json for tests: all bytes, then merges of letters, then added tokens.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace small_tokenizer {

using Json = nlohmann::json;
using Merges = std::vector<std::pair<std::string, std::string>>;

/// The character that stands for a byte in a byte-level file, written from GPT-2's bytes_to_unicode.
inline std::string letter(int byte) {
  const auto utf8 = [](int code_point) {
    if (code_point < 0x80) return std::string{char(code_point)};
    return std::string{char(0xC0 | code_point >> 6), char(0x80 | (code_point & 0x3F))};
  };
  const auto printable = [](int b) { return (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173; };
  if (printable(byte)) return utf8(byte);
  int before = 0;
  for (int b = 0; b < byte; ++b) before += !printable(b);
  return utf8(256 + before);
}

/// Ids: bytes 0-255, merge m is 256 + m (unless its token is there already), then <|special|> and <plain>.
inline Json description(const Merges& merges = {{"a", "b"}, {"ab", "c"}, {"l", "l"}}) {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocabulary[letter(byte)] = byte;
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    list.push_back(Json::array({left, right}));
    if (!vocabulary.contains(left + right)) vocabulary[left + right] = vocabulary.size();
  }
  Json tokens = Json::array();
  for (const char* content : {"<|special|>", "<plain>"})
    tokens.push_back({{"id", vocabulary.size() + tokens.size()},
                      {"content", content},
                      {"special", content[1] == '|'},
                      {"normalized", false},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false}});
  const Json split{
      {"type", "Split"}, {"pattern", {{"Regex", R"(\s+|[^\s]+)"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  return {{"version", "1.0"},
          {"added_tokens", tokens},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", list}}}};
}

}  // namespace small_tokenizer
