// A tokenizer.json of a stranger, and then a stranger's text and ids. The text is the file itself.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/utf8.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // Mutations seldom leave all 256 bytes in the vocabulary; this one is always whole, so that text is fuzzed as well.
  static const ivl::Tokenizer own = [] {
    std::string json = R"({"model": {"type": "BPE", "vocab": {)";
    int id = 0;
    const auto token = [&](const std::string& text) {
      json += (id ? ",\"" : "\"") + text + "\":" + std::to_string(id), ++id;
    };
    for (int code_point = 0x21; code_point < 0x144; ++code_point) {
      if ((code_point > 0x7E && code_point < 0xA1) || code_point == 0xAD) continue;
      if (code_point == '"' || code_point == '\\')
        token(std::string{'\\', char(code_point)});
      else if (code_point < 0x80)
        token(std::string{char(code_point)});
      else
        token(std::string{char(0xC0 | code_point >> 6), char(0x80 | (code_point & 0x3F))});
    }
    for (const char* two : {"aa", "ab", "ba"}) token(two);
    return ivl::Tokenizer::from_json(json +
                                     R"(}, "merges": ["a a", ["a", "b"], "b a"]}, "decoder": {"type": "ByteLevel"},
        "normalizer": {"type": "NFC"}, "added_tokens": [{"id": 259, "content": "<a>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}})");
  }();
  const auto check = [&](const ivl::Tokenizer& tokenizer) {
    for (const auto policy : {ivl::AddedTokens::split, ivl::AddedTokens::as_text}) {
      const std::vector<int> ids = tokenizer.encode(bytes, policy);
      const std::string text = tokenizer.decode(ids, ivl::SpecialTokens::keep);
      if (!ivl::is_utf8(text)) std::abort();
      ivl::StreamDecoder stream(tokenizer, {}, ivl::SpecialTokens::keep);
      std::string streamed;
      for (const int id : ids) streamed += stream.push(id);
      streamed += stream.finish();
      if (streamed != text) std::abort();
      for (const int id : ids)
        if (id < 0 || id >= tokenizer.size()) std::abort();
    }
  };
  check(own);
  try {
    check(ivl::Tokenizer::from_json(bytes));
  } catch (const ivl::Error&) {
  }
  return 0;
}
