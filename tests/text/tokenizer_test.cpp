#include "ivl/text/tokenizer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "golden_tokenizers.hpp"
#include "ivl/text/split_regex.hpp"
#include "ivl/text/stream_decoder.hpp"
#include "ivl/text/tokenizer_file.hpp"
#include "ivl/text/utf8.hpp"
#include "small_tokenizer.hpp"

using namespace ivl;

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Ids = std::vector<int>;

/// BPE as the paper writes it: all pairs looked at again after every merge.
std::vector<std::string> plain_bpe(const std::string& word, const small_tokenizer::Merges& merges) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  for (;;) {
    std::size_t best_rank = merges.size(), best_at = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at) {
      const auto found = std::find(merges.begin(), merges.end(), std::pair(symbols[at], symbols[at + 1]));
      const auto rank = std::size_t(found - merges.begin());
      if (rank < best_rank) best_rank = rank, best_at = at;
    }
    if (best_rank == merges.size()) return symbols;
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + std::ptrdiff_t(best_at) + 1);
  }
}

}  // namespace

TEST_CASE("our own small tokenizer gives the ids and texts of the tokenizers library, in all three spellings") {
  for (const char* folder : {"own", "own_files", "own_old_merges"}) {
    CAPTURE(folder);
    test::check_byte_level(Tokenizer::from_folder(test::tokenizer_golden() / folder), "own");
  }
}

TEST_CASE("the tokenizers of InternVL3, InternVL3.5 and gpt-oss give the ids and texts of the tokenizers library") {
  for (const char* name : {"internvl3", "internvl3_5", "internvl3_5_gpt_oss"}) {
    CAPTURE(name);
    if (const fs::path folder = test::real_tokenizer(name); !folder.empty())
      test::check_byte_level(Tokenizer::from_folder(folder), name);
  }
}

TEST_CASE("gpt-oss's tokenizer gives the ids that tokenizers and tiktoken agree on") {
  const fs::path folder = test::real_tokenizer("internvl3_5_gpt_oss");
  if (folder.empty()) return;
  const auto tokenizer = Tokenizer::from_folder(folder);
  const std::map<std::string, Ids> examples{
      {"Hello, world!", {13225, 11, 2375, 0}},
      {"你好，世界", {177519, 979, 28428}},
      {"I'm InternVL3.5; it's 2025-08-06.",
       {15390, 4035, 70236, 18, 13, 20, 26, 4275, 220, 1323, 20, 12, 3062, 12, 3218, 13}},
      {"1234567", {7633, 19354, 22}},
      {"  two  spaces\n\n\ttab", {220, 1920, 220, 18608, 279, 119380}},
      {"na\u00efve caf\u00e9", {1503, 9954, 737, 30469}},
      {"cafe\u0301", {66, 6903, 13430}},
      {"🙂👍🏽", {37459, 82514, 52622, 121}},
      {"don't DON'T", {91418, 153384}},
      {"x = y/2 //c\n", {87, 314, 342, 14, 17, 602, 66, 198}},
      {"नमस्ते", {998, 1637, 14681, 628}},
      {"\u00a0", {5310}},
      {"<|start|>user<|message|><img><IMG_CONTEXT></img>\nHi<|end|><|start|>assistant",
       {200006, 1428, 200008, 200019, 200021, 200020, 198, 12194, 200007, 200006, 173781}},
  };
  for (const auto& [text, ids] : examples) {
    CAPTURE(text);
    CHECK(tokenizer.encode(text) == ids);
    CHECK(tokenizer.decode(ids, SpecialTokens::keep) == text);
  }
}

TEST_CASE("merging agrees with the plain algorithm for words of every length and any merges") {
  std::uint32_t state = 7;
  const auto draw = [&](std::size_t below) { return ((state = state * 1664525u + 1013904223u) >> 8) % below; };
  for (int round = 0; round < 40; ++round) {
    small_tokenizer::Merges merges;
    std::vector<std::string> tokens{"a", "b", "c"};
    while (merges.size() < 20) {
      const std::pair pair(tokens[draw(tokens.size())], tokens[draw(tokens.size())]);
      if (pair.first.size() + pair.second.size() > 12 || std::count(merges.begin(), merges.end(), pair)) continue;
      merges.push_back(pair);
      tokens.push_back(pair.first + pair.second);
    }
    const bool ignore_merges = round % 4 == 0;
    Json description = small_tokenizer::description(merges);
    description["model"]["ignore_merges"] = ignore_merges;
    const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
    for (const std::size_t size : {1, 2, 3, 5, 12, 31, 32, 33, 34, 100, 257}) {
      std::string word;
      while (word.size() < size) word += char('a' + draw(3));
      Ids want;
      for (const std::string& symbol : plain_bpe(word, merges)) want.push_back(*tokenizer.id_of(symbol));
      if (ignore_merges && tokenizer.id_of(word)) want = {*tokenizer.id_of(word)};
      CAPTURE(word);
      if (tokenizer.encode(word) != want) REQUIRE(tokenizer.encode(word) == want);
    }
  }
}

TEST_CASE("a token that its own merges do not lead to is not produced, unless merges are ignored") {
  // "abc" is a token, but "bc" is merged first and ("a", "bc") is in no list.
  Json description = small_tokenizer::description({{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  const auto ids = [&] {
    const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
    return tokenizer.encode("abc") == Ids{*tokenizer.id_of("abc")};
  };
  CHECK_FALSE(ids());
  description["model"]["ignore_merges"] = true;
  CHECK(ids());
}

TEST_CASE("added tokens are cut out of prompts and stay text in the words of a stranger") {
  const Tokenizer tokenizer = Tokenizer::from_json(small_tokenizer::description().dump());
  const int special = *tokenizer.id_of("<|special|>"), plain = *tokenizer.id_of("<plain>");
  CHECK(tokenizer.encode("ab<|special|>c<plain>") == Ids{256, special, 'c', plain});
  CHECK(tokenizer.is_special(special));
  CHECK_FALSE(tokenizer.is_special(plain));
  for (const int id : tokenizer.encode("ab<|special|>c<plain>", AddedTokens::as_text)) CHECK(id < special);
  CHECK(tokenizer.decode(tokenizer.encode("ab<|special|><plain>", AddedTokens::as_text)) == "ab<|special|><plain>");
  CHECK(tokenizer.decode(Ids{256, special, plain}) == "ab<plain>");
  CHECK(tokenizer.decode(Ids{256, special, plain}, SpecialTokens::keep) == "ab<|special|><plain>");
}

TEST_CASE("an added token that is looked for after normalisation stays text in the words of a stranger too") {
  Json description = small_tokenizer::description();
  Json& token = description["added_tokens"].back();
  REQUIRE(token["content"] == "<plain>");
  token["normalized"] = true;
  const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
  CHECK(tokenizer.encode("<plain>") == Ids{token["id"].get<int>()});
  CHECK(tokenizer.encode("<plain>", AddedTokens::as_text) == Ids{'<', 'p', 'l', 'a', 'i', 'n', '>'});
}

TEST_CASE("where a file does not say so, ordinary added tokens are normalised and special ones are not") {
  for (const bool special : {false, true}) {
    CAPTURE(special);
    Json description = small_tokenizer::description();
    Json& token = description["added_tokens"].back();
    token["content"] = "caf\u00e9";
    token["special"] = special;
    token.erase("normalized");
    const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
    const Ids id{token["id"].get<int>()};
    CHECK(tokenizer.encode("caf\u00e9") == id);
    CHECK((tokenizer.encode("cafe\u0301") == id) == !special);
  }
}

TEST_CASE("of added tokens that start alike the longest is taken, and of those that overlap the leftmost") {
  Json description = small_tokenizer::description();
  const auto add = [&](const std::string& content, bool normalized) {
    Json token = description["added_tokens"][0];
    token["id"] = description["added_tokens"].back()["id"].get<int>() + 1;
    token["content"] = content;
    token["normalized"] = normalized;
    description["added_tokens"].push_back(token);
    return token["id"].get<int>();
  };
  const int x = add("<x", false), xy = add("<xyz", false), yz = add("yz>", false);
  const int cafe = add("cafe\u0301", true), raw = add("e\u0301e\u0301", false);
  const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
  CHECK(tokenizer.encode("<x") == Ids{x});
  CHECK(tokenizer.encode("<xy") == Ids{x, 'y'});
  CHECK(tokenizer.encode("<xyz>") == Ids{xy, '>'});
  CHECK(tokenizer.encode("<yz>") == Ids{'<', yz});
  // Normalised ones are found in both spellings, the others only as they are written.
  CHECK(tokenizer.encode("caf\u00e9") == Ids{cafe});
  CHECK(tokenizer.encode("cafe\u0301") == Ids{cafe});
  CHECK(tokenizer.encode("e\u0301e\u0301") == Ids{raw});
  CHECK(tokenizer.encode("\u00e9\u00e9").size() == 4);
}

TEST_CASE("an id without a token gives nothing, and -1 is no surprise") {
  const Tokenizer tokenizer = Tokenizer::from_json(small_tokenizer::description().dump());
  CHECK(tokenizer.decode(Ids{-1, tokenizer.size(), 1 << 30, 256}) == "ab");
  CHECK(tokenizer.bytes_of(-1).empty());
  CHECK_FALSE(tokenizer.is_special(tokenizer.size()));
  CHECK_FALSE(tokenizer.id_of("nothing of the kind"));
  CHECK_FALSE(tokenizer.id_of(""));
}

TEST_CASE("ByteLevel's own expression and U+180E split as the reference splits") {
  Json description =
      small_tokenizer::description({{"l", "l"}, {"'", "ll"}, {small_tokenizer::letter(' '), "x"}, {"1", "2"}});
  description["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
  CHECK(tokenizer.encode("'ll") == Ids{257});
  CHECK(tokenizer.encode("   x") == Ids{' ', ' ', 258});
  CHECK(tokenizer.encode("12") == Ids{259});
  // The Mongolian vowel separator lost the property White_Space in Unicode 6.3; PCRE2's \s still has it.
  SplitRegex regex(R"(\s+|\S+)");
  std::vector<std::string> words;
  regex.split("a\u180eb\u3000\u0085 c", [&](std::string_view word) { words.emplace_back(word); });
  CHECK(words == std::vector<std::string>{"a\u180eb", "\u3000\u0085 ", "c"});
}

TEST_CASE("letters, digits and marks of Unicode 16 split as in the reference, whatever PCRE2 knows of them") {
  const Json want = Json::parse(detail::read_text(test::tokenizer_golden() / "newer_categories.json"));
  std::vector<SplitRegex> expressions;
  for (const Json& pattern : want["patterns"]) expressions.emplace_back(pattern.get<std::string>());
  REQUIRE(want["split"].size() >= 100);
  for (const Json& entry : want["split"]) {
    CAPTURE(entry.dump());
    std::vector<std::string> words;
    const std::string text = entry["text"];
    expressions[entry["pattern"].get<std::size_t>()].split(text,
                                                           [&](std::string_view word) { words.emplace_back(word); });
    CHECK(words == entry["words"].get<std::vector<std::string>>());
  }
}

TEST_CASE("what the split expression does not match is a word too") {
  SplitRegex regex("[0-9]+");
  std::vector<std::string> words;
  regex.split("ab12cd3e", [&](std::string_view word) { words.emplace_back(word); });
  CHECK(words == std::vector<std::string>{"ab", "12", "cd", "3", "e"});
}

TEST_CASE("an expression that goes back without end is an error, and a run of a million characters is none") {
  SplitRegex hostile(R"((?:a+)+(?:b|c)$)");
  CHECK_THROWS_AS(hostile.split(std::string(50, 'a'), [](std::string_view) {}), RequestError);
  const Tokenizer tokenizer = Tokenizer::from_folder(test::tokenizer_golden() / "own");
  std::string letters;
  for (std::uint32_t state = 1; letters.size() < 1'000'000;)
    letters += char('a' + ((state = state * 1664525u + 1013904223u) >> 24) % 26);
  for (const std::string& text :
       {letters, std::string(3'000'000, ' '), std::string(1'000'000, '!'), std::string(1'000'000, 'a')})
    CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
}

TEST_CASE("threads share one tokenizer") {
  const Tokenizer tokenizer = Tokenizer::from_folder(test::tokenizer_golden() / "own");
  const std::string text = "The triangle is to the left of the square. 你好，世界 e\u0301 <|im_end|>";
  const Ids want = tokenizer.encode(text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& mine : wrong)
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) mine += tokenizer.encode(text) != want;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("a tokenizer can be moved") {
  Tokenizer first = Tokenizer::from_json(small_tokenizer::description().dump());
  const Tokenizer second = std::move(first);
  CHECK(second.encode("abc") == Ids{257});
}
