#include "ivl/text/tokenizer_file.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>

#include "ivl/files/json.hpp"
#include "ivl/text/tokenizer.hpp"
#include "small_tokenizer.hpp"
#include "tests/support/temporary_folder.hpp"

using namespace ivl;

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The message of the FileError, or what happened instead.
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const FileError& error) {
    return error.what();
  }
  return "no error";
}

/// A description, changed; and words that the error must contain.
void refused(const std::function<void(Json&)>& change, const std::string& words) {
  Json description = small_tokenizer::description();
  change(description);
  const std::string message = error_of([&] { Tokenizer::from_json(description.dump()); });
  CAPTURE(words);
  CAPTURE(message);
  CHECK(message.find(words) != std::string::npos);
  CHECK(message.size() < 1000);
}

/// A folder whose files are those of `files`, `name` with `content` instead. The error must begin with `start` in that
/// folder, say `words` and name no path twice.
void refused_file(std::map<std::string, std::string> files, const std::string& name, const std::string& content,
                  const std::string& start, const std::string& words) {
  files[name] = content;
  const test::TemporaryFolder folder;
  for (const auto& [file, text] : files) folder.write(file, text);
  const std::string message = error_of([&] { Tokenizer::from_folder(folder.path()); });
  CAPTURE(name);
  CAPTURE(message);
  CHECK(message.starts_with(folder.path().string() + "/" + start + ": "));
  CHECK(message.find(words) != std::string::npos);
  CHECK(message.find(folder.path().string(), 1) == std::string::npos);
  CHECK(message.size() < 1000);
}

struct Folder {
  Folder() { fs::create_directory(path); }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  fs::path path = fs::temp_directory_path() / ("ivl_tokenizer_file_test_" + std::to_string(getpid()));
};

}  // namespace

TEST_CASE("a tokenizer.json that is not what this library runs is refused by name") {
  refused([](Json& d) { d["model"]["type"] = "Unigram"; }, "Unigram");
  refused([](Json& d) { d.erase("model"); }, "model");
  refused([](Json& d) { d["model"] = 3; }, "model");
  refused([](Json& d) { d["model"]["byte_fallback"] = true; }, "U+2581");
  refused([](Json& d) { d["model"]["dropout"] = 0.1; }, "dropout");
  refused([](Json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix");
  refused([](Json& d) { d["normalizer"] = {{"type", "NFKC"}}; }, "NFKC");
  refused(
      [](Json& d) {
        d["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}};
      },
      "Lowercase");
  refused([](Json& d) { d["pre_tokenizer"] = {{"type", "Metaspace"}}; }, "Metaspace");
  refused([](Json& d) { d["pre_tokenizer"] = nullptr; }, "pre_tokenizer");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }, "Removed");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; }, "pre_tokenizer");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }, "pre_tokenizer");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; }, "does not compile");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\w+)"; }, R"(\w)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"([^\S])"; }, R"(\S)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a\\"; }, "ends in");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"([^\D])"; }, R"(\D)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"([\P{L}])"; }, R"(\P)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\pL+)"; }, R"(\p)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\p{L)"; }, R"(\p)");
  refused([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\p)"; }, R"(\p)");
  refused([](Json& d) { d["decoder"] = {{"type", "Metaspace"}}; }, "decoder");
  refused([](Json& d) { d["post_processor"] = {{"type", "TemplateProcessing"}}; }, "post_processor");
  refused([](Json& d) { d["added_tokens"][0]["lstrip"] = true; }, "lstrip");
  refused([](Json& d) { d["added_tokens"] = 3; }, "added_tokens");
  refused([](Json& d) { d["added_tokens"][0]["special"] = "yes"; }, "special");
}

TEST_CASE("normalizers that come to NFC or to nothing are taken, and ByteLevel as post processor") {
  for (const Json& normalizer :
       {Json(), Json{{"type", "NFC"}}, Json{{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}}) {
    Json description = small_tokenizer::description();
    description["normalizer"] = normalizer;
    description["post_processor"] = {{"type", "ByteLevel"}};
    const std::size_t accent = normalizer.is_null() ? 3 : 2;  // bytes of e and U+0301, and of U+00E9
    CHECK(Tokenizer::from_json(description.dump()).encode("e\u0301").size() == accent);
  }
}

TEST_CASE("hostile ids and merges are one clear error") {
  refused([](Json& d) { d["model"]["vocab"]["a"] = -1; }, "\"a\": expected an id from 0");
  refused([](Json& d) { d["model"]["vocab"]["a"] = 1.5; }, "found 1.5");
  refused([](Json& d) { d["model"]["vocab"]["a"] = "1"; }, "expected an id");
  refused([](Json& d) { d["model"]["vocab"]["a"] = 18446744073709551615u; }, "18446744073709551615");
  refused([](Json& d) { d["model"]["vocab"]["a"] = 2147483647; }, "expected ids below 1048576");
  refused([](Json& d) { d["model"]["vocab"]["a"] = 65; }, "not the only token with id 65");
  refused([](Json& d) { d["model"]["vocab"].erase("a"); }, "byte 97 has no token");
  refused([](Json& d) { d["model"]["vocab"]["中"] = d["model"]["vocab"].size() + 2; }, "not byte-level");
  refused([](Json& d) { d["model"]["vocab"][""] = d["model"]["vocab"].size() + 2; }, "is empty");
  refused([](Json& d) { d["model"]["vocab"] = Json::array(); }, "vocab");
  refused(
      [](Json& d) {
        d["model"]["vocab"] = Json::object();
        d["model"]["merges"] = Json::array();
        d["added_tokens"] = nullptr;
      },
      "byte 0 has no token");
  refused([](Json& d) { d["model"]["vocab"]["a"] = Json::array(); }, "vocab");
  refused([](Json& d) { d["model"].erase("vocab"); }, "vocab");
  refused([](Json& d) { d["model"].erase("merges"); }, "merges");
  refused([](Json& d) { d["model"]["merges"] = "a b"; }, "merges");
  refused([](Json& d) { d["model"]["merges"].push_back("a b c"); }, "\"a b c\"");
  refused([](Json& d) { d["model"]["merges"].push_back("ab"); }, "\"ab\"");
  refused([](Json& d) { d["model"]["merges"].push_back({"a"}); }, "found 1");
  refused([](Json& d) { d["model"]["merges"].push_back(Json::array({"a", 1})); }, "merges");
  refused([](Json& d) { d["model"]["merges"].push_back(Json::array({"a", "x"})); }, "\"ax\" is not a token");
  refused([](Json& d) { d["model"]["merges"].push_back(Json::array({"a", "中"})); }, "is not a token");
  refused([](Json& d) { d["added_tokens"][0]["id"] = d["added_tokens"][1]["id"]; }, "have id");
  refused([](Json& d) { d["added_tokens"][0]["id"] = 5; }, "id 5");
  refused([](Json& d) { d["added_tokens"][0]["id"] = 2147483647; }, "expected ids below 1048576");
  refused([](Json& d) { d["added_tokens"][0]["content"] = d["added_tokens"][1]["content"]; }, "has ids");
  refused([](Json& d) { d["added_tokens"][0]["content"] = ""; }, "content");
  refused([](Json& d) { d["added_tokens"][0]["content"] = "a"; }, "\"a\" has id 97");
}

TEST_CASE("text that is not JSON, or goes deeper than a tokenizer does, is one clear error") {
  const std::string good = small_tokenizer::description().dump();
  for (const std::string& text : {std::string(), std::string("null"), std::string("[]"), std::string("{\"model\":"),
                                  good.substr(0, good.size() / 2), good + "}", std::string(1'000'000, '['),
                                  "{\"a\":" + std::string(1'000'000, '['), std::string("\xff\xfe")}) {
    const std::string message = error_of([&] { Tokenizer::from_json(text); });
    CHECK(message.find("tokenizer") != std::string::npos);
    CHECK(message.size() < 1000);
  }
}

TEST_CASE("a tokenizer.json meets the limits of every JSON file") {
  const std::string good = small_tokenizer::description().dump();
  const auto error = [&](const std::string& member) {
    return error_of([&] { Tokenizer::from_json(good.substr(0, good.size() - 1) + "," + member + "}"); });
  };
  CHECK(error(R"("ignored": {"a": 1})") == "no error");
  CHECK(error(R"("ignored": {"a": 1, "a": 2})") == "tokenizer.json: the key 'a' occurs twice in one object");
  CHECK(error("\"ignored\": " + std::string(99, '[') + std::string(99, ']')) == "no error");
  CHECK(error("\"ignored\": " + std::string(100, '[') + std::string(100, ']')) ==
        "tokenizer.json: nested deeper than 100 levels");
  CHECK(error_of([&] { Tokenizer::from_json(good + std::string(1, '\0')); }).find("a NUL byte") != std::string::npos);
}

TEST_CASE("special tokens may stand in the vocabulary as well, and BPE does not make them") {
  Json description = small_tokenizer::description();
  for (const Json& token : description["added_tokens"])
    description["model"]["vocab"][token["content"].get<std::string>()] = token["id"];
  description["model"]["ignore_merges"] = true;
  const Tokenizer tokenizer = Tokenizer::from_json(description.dump());
  const int special = *tokenizer.id_of("<|special|>");
  CHECK(tokenizer.encode("<|special|>") == std::vector<int>{special});
  for (const int id : tokenizer.encode("<|special|>", AddedTokens::as_text)) CHECK(id != special);
}

TEST_CASE("a folder's tokens come from tokenizer.json first and then from what stands beside it") {
  const Folder folder;
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("found none") != std::string::npos);
  folder.write("tokenizer.json", small_tokenizer::description().dump());
  const int next = Tokenizer::from_folder(folder.path).size();

  folder.write("added_tokens.json", Json{{"<new>", next}, {"<loud>", next + 1}, {"<plain>", next - 1}}.dump());
  folder.write("special_tokens_map.json", Json{{"eos_token", {{"content", "<loud>"}}}}.dump());
  const Tokenizer tokenizer = Tokenizer::from_folder(folder.path);
  CHECK(tokenizer.encode("<new><loud>") == std::vector<int>{next, next + 1});
  CHECK_FALSE(tokenizer.is_special(next));
  CHECK(tokenizer.is_special(next + 1));

  folder.write(
      "tokenizer_config.json",
      Json{{"added_tokens_decoder", {{std::to_string(next), {{"content", "<new>"}, {"special", true}}}}}}.dump());
  CHECK(Tokenizer::from_folder(folder.path).is_special(next));

  folder.write("tokenizer_config.json", Json{{"added_tokens_decoder", {{"-1", {{"content", "<new>"}}}}}}.dump());
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("\"-1\"") != std::string::npos);
  folder.write("tokenizer_config.json", "{}");
  folder.write("added_tokens.json", Json{{"<plain>", next}}.dump());
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("\"<plain>\" has id") != std::string::npos);
  folder.write("added_tokens.json", "[1]");
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("added_tokens.json") != std::string::npos);
}

TEST_CASE("vocab.json and merges.txt are read with line ends of both kinds, and only as Qwen2's tokenizer") {
  const Folder folder;
  const Json description = small_tokenizer::description();
  folder.write("vocab.json", description["model"]["vocab"].dump());
  folder.write("merges.txt", "#version: 0.2\na b\r\nab c\n\nl l");
  Json added = Json::object();
  for (const Json& token : description["added_tokens"]) added[token["content"].get<std::string>()] = token["id"];
  folder.write("added_tokens.json", added.dump());
  CHECK(Tokenizer::from_folder(folder.path).encode("abc") == std::vector<int>{257});
  folder.write("merges.txt", "a b\nab c d\n");
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("\"ab c d\"") != std::string::npos);
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("LlamaTokenizer") != std::string::npos);
  folder.write("tokenizer_config.json", "{}");
  folder.write("vocab.json", "[]");
  CHECK(error_of([&] { Tokenizer::from_folder(folder.path); }).find("vocab") != std::string::npos);
}

TEST_CASE("of the lines of merges.txt only the first may be the version") {
  // "#version x" as a merge, and what leads to its left half.
  small_tokenizer::Merges merges{{"a", "b"}, {"#version", "x"}};
  for (std::string left = "#"; left != "#version"; left = merges.back().first + merges.back().second)
    merges.emplace_back(left, std::string(1, std::string("#version")[left.size()]));
  std::string lines;
  for (const auto& [left, right] : merges) lines += left + " " + right + "\n";
  const Folder folder;
  const Json description = small_tokenizer::description(merges);
  folder.write("vocab.json", description["model"]["vocab"].dump());
  folder.write("merges.txt", lines);
  Json added = Json::object();
  for (const Json& token : description["added_tokens"]) added[token["content"].get<std::string>()] = token["id"];
  folder.write("added_tokens.json", added.dump());
  const Tokenizer tokenizer = Tokenizer::from_folder(folder.path);
  CHECK(tokenizer.encode("#versionx") == std::vector<int>{tokenizer.id_of("#versionx").value()});
}

TEST_CASE("whatever is wrong with a tokenizer's files, the error begins with the path of the file") {
  const Json good = small_tokenizer::description();
  const auto changed = [&](const auto& change) {
    Json json = good;
    change(json);
    return json.dump();
  };
  using Files = std::map<std::string, std::string>;
  const Files one{{"tokenizer.json", good.dump()}};
  const std::string j = "tokenizer.json";
  refused_file(one, j, "", j, "empty");
  refused_file(one, j, "{", j, "parse error");
  refused_file(one, j, "[]", j, "expected an object");
  refused_file(one, j, std::string(max_json_depth + 1, '['), j, "nested deeper than");
  refused_file(one, j, changed([](Json& d) { d["model"]["type"] = "Unigram"; }), j, "Unigram");
  refused_file(one, j, changed([](Json& d) { d["model"]["dropout"] = 0.5; }), j, "dropout");
  refused_file(one, j, changed([](Json& d) { d["model"].erase("vocab"); }), j, "vocab");
  refused_file(one, j, changed([](Json& d) { d["model"]["vocab"]["a"] = -1; }), j, "expected an id");
  refused_file(one, j, changed([](Json& d) { d["model"]["vocab"]["a"] = 5; }), j, "not the only token");
  refused_file(one, j, changed([](Json& d) { d["model"]["vocab"]["a"] = 1 << 20; }), j, "expected ids below");
  refused_file(one, j, changed([](Json& d) { d["model"]["vocab"]["\u4e2d"] = d["model"]["vocab"].size() + 2; }), j,
               "not byte-level");
  refused_file(one, j, changed([](Json& d) { d["model"]["merges"].push_back("ab"); }), j, "expected two tokens");
  refused_file(one, j, changed([](Json& d) { d["model"]["merges"].push_back({"a", "b", "c"}); }), j, "found 3");
  refused_file(one, j, changed([](Json& d) { d["model"]["merges"].push_back("a x"); }), j, "\"ax\" is not a token");
  refused_file(one, j, changed([](Json& d) { d["model"]["ignore_merges"] = 1; }), j, "ignore_merges");
  refused_file(one, j, changed([](Json& d) { d["model"]["byte_fallback"] = true; }), j, "normalizer");
  refused_file(one, j, changed([](Json& d) { d["normalizer"] = {{"type", "NFKC"}}; }), j, "NFKC");
  refused_file(one, j, changed([](Json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; }), j,
               "does not compile");
  refused_file(one, j, changed([](Json& d) { d["decoder"] = nullptr; }), j, "decoder");
  refused_file(one, j, changed([](Json& d) { d["post_processor"] = {{"type", "Bert"}}; }), j, "Bert");
  refused_file(one, j, changed([](Json& d) { d["added_tokens"] = 3; }), j, "added_tokens");
  refused_file(one, j, changed([](Json& d) { d["added_tokens"][0]["lstrip"] = true; }), j, "lstrip");
  refused_file(one, j, changed([](Json& d) { d["added_tokens"][0]["id"] = 5; }), j, "id 5");

  const std::string config = "tokenizer_config.json", added = "added_tokens.json", map = "special_tokens_map.json";
  for (const std::string& file : {config, added, map}) {
    refused_file(one, file, "{", file, "parse error");
    refused_file(one, file, "[1]", file, "expected an object");
  }
  refused_file(one, config, R"({"added_tokens_decoder": {"x": {"content": "y"}}})", config, "ids as keys");
  refused_file(one, config, R"({"added_tokens_decoder": {"7": {}}})", config, "expected content");
  refused_file(one, config, R"({"added_tokens_decoder": {"7": {"content": "<plain>"}}})", config, "in another file");
  refused_file(one, added, R"({"<new>": "7"})", added, "expected an id");
  refused_file(one, added, R"({"<plain>": 7})", added, "in another file");
  refused_file(one, added, Json{{"<new>", 1 << 20}}.dump(), j + " and " + added, "expected ids below");
  refused_file(one, added, R"({"<new>": 97})", j + " and " + added, "not the only token with id 97");

  Json tokens = Json::object();
  for (const Json& token : good["added_tokens"]) tokens[token["content"].get<std::string>()] = token["id"];
  const Files two{
      {"vocab.json", good["model"]["vocab"].dump()}, {"merges.txt", "a b\nab c\nl l\n"}, {added, tokens.dump()}};
  refused_file(two, "vocab.json", "{", "vocab.json", "parse error");
  refused_file(two, "vocab.json", "3", "vocab.json", "expected an object");
  refused_file(two, "vocab.json", R"({"a": "b"})", "vocab.json", "expected an id");
  refused_file(two, "merges.txt", "a b\nabc", "merges.txt", "\"abc\"");
  refused_file(two, "merges.txt", "a x", "vocab.json and merges.txt and " + added, "\"ax\" is not a token");
  refused_file(two, config, R"({"tokenizer_class": "LlamaTokenizer"})", config, "LlamaTokenizer");

  const std::string model = "tokenizer.model";
  const Files piece{
      {model, detail::read_text(fs::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer/sentence_piece" / model)}};
  refused_file(piece, model, piece.at(model).substr(0, 1000), model, "truncated");
  refused_file(piece, model, "\x0F", model, "wire type 7");
  refused_file(piece, model, "\x12\x02\x18\x01", model, "expected model type 2 (BPE), found 1");
  refused_file(piece, model, std::string("\x12\x05\x18\x02\x98\x02\x01", 7), model, "byte 0 has no token");
  refused_file(piece, config, R"({"add_bos_token": 1})", config, "add_bos_token");
}
