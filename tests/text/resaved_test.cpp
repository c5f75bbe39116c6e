// Tokenizers as transformers 5 saves them again, and what their files may say beyond that.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/text/tokenizer.hpp"
#include "small_tokenizer.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/text.hpp"

namespace {

using namespace ivl;
using ivl_test::contains;
namespace fs = std::filesystem;

const fs::path golden_settings = fs::path(IVL_SOURCE_DIR) / "tests/golden/settings";

std::vector<int> with_bos(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int> ids;
  if (tokenizer.bos()) ids.push_back(*tokenizer.bos());
  tokenizer.encode(text, ids);
  return ids;
}

/// A small tokenizer with an edited tokenizer.json and tokenizer_config.json.
class EditedTokenizer {
 public:
  template <class Edit>
  explicit EditedTokenizer(const Edit& edit) {
    Json tokenizer = small_tokenizer::description(), config = Json::object();
    edit(tokenizer, config);
    std::ofstream(folder_ / "tokenizer.json") << tokenizer.dump();
    std::ofstream(folder_ / "tokenizer_config.json") << config.dump();
  }
  Tokenizer read() const { return Tokenizer::from_folder(folder_.path()); }
  std::string error() const {
    return test::error_of<Error>([&] { read(); });
  }

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("a tokenizer that transformers 5 saved again gives the same ids") {
  const Tokenizer tokenizer = Tokenizer::from_folder(golden_settings / "saved_by_5");
  const Json wanted = read_json(golden_settings / "saved_by_5.json");
  CHECK_FALSE(tokenizer.bos());
  for (std::size_t at = 0; at < wanted["texts"].size(); ++at)
    CHECK(with_bos(tokenizer, wanted["texts"][at]) == wanted["ids"][at].get<std::vector<int>>());
}

TEST_CASE("post processors and special tokens are what transformers makes of the two files") {
  const fs::path base = fs::path(IVL_SOURCE_DIR) / "tests/golden/models/qwen3_tiny/hf";
  const Json wanted = read_json(golden_settings / "tokenizers.json");
  for (const Json& one : wanted["cases"]) {
    const std::string name = one["name"];
    CAPTURE(name);
    const EditedTokenizer edited([&](Json& tokenizer, Json& config) {
      tokenizer = read_json(base / "tokenizer.json");
      config = read_json(base / "tokenizer_config.json");
      tokenizer.merge_patch(one["tokenizer"]);
      config.merge_patch(one["config"]);
    });
    const Tokenizer tokenizer = edited.read();
    for (std::size_t at = 0; at < wanted["texts"].size(); ++at) {
      const std::vector<int> ids = one["ids"][at];
      CHECK(with_bos(tokenizer, wanted["texts"][at]) == ids);
      CHECK(tokenizer.decode(ids) == one["decoded"][at].get<std::string>());
    }
  }
}

TEST_CASE("a post processor that is not understood is refused by name") {
  const Json sequence{{"Sequence", {{"id", "A"}}}}, special{{"SpecialToken", {{"id", "<|special|>"}}}};
  const auto error_of_template = [](const Json& single, const Json& ids) {
    const EditedTokenizer edited([&](Json& tokenizer, Json&) {
      tokenizer["post_processor"] = {
          {"type", "TemplateProcessing"}, {"single", single}, {"special_tokens", {{"<|special|>", {{"ids", ids}}}}}};
    });
    return edited.error();
  };
  const int id = 259;
  CHECK(error_of_template({special, sequence}, {id}) == "");
  CHECK(contains(error_of_template({sequence, special}, {id}), "tokenizer post_processor: "));
  CHECK(contains(error_of_template({special, sequence, special}, {id}), "post_processor"));
  CHECK(contains(error_of_template({special}, {id}), "post_processor"));
  CHECK(contains(error_of_template({special, sequence}, {id, id}), "post_processor"));
  CHECK(contains(error_of_template(Json::array(), {id}), "post_processor"));
  CHECK(contains(error_of_template({{{"Sequence", {{"id", "B"}}}}}, {id}), "post_processor"));
  const EditedTokenizer roberta([](Json& tokenizer, Json&) {
    tokenizer["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "RobertaProcessing"}}}}};
  });
  CHECK(contains(roberta.error(), "RobertaProcessing"));
}

TEST_CASE("tokenizer_config.json agrees with the files beside it, or is refused by the key") {
  const auto error_with = [](const char* key, const Json& value) {
    return EditedTokenizer([&](Json&, Json& config) { config[key] = value; }).error();
  };
  CHECK(error_with("add_bos_token", false) == "");
  CHECK(contains(error_with("add_bos_token", true),
                 "tokenizer_config.json: add_bos_token: expected false, since no other file puts one"));
  CHECK(error_with("add_prefix_space", false) == "");
  CHECK(contains(error_with("add_prefix_space", true), "tokenizer_config.json: add_prefix_space: expected false"));
  CHECK(contains(error_with("split_special_tokens", true), "split_special_tokens: expected false, found true"));
  CHECK(contains(error_with("context_image_token", "<image>"), "context_image_token: expected \"<IMG_CONTEXT>\""));
  CHECK(error_with("what_is_this", 7) == "");
}

TEST_CASE("ids may have gaps, where no token is") {
  const EditedTokenizer edited([](Json& tokenizer, Json&) { tokenizer["added_tokens"][1]["id"] = 520; });
  const Tokenizer tokenizer = edited.read();
  CHECK(tokenizer.size() == 521);
  CHECK(tokenizer.encode("ab<plain>") == std::vector<int>{256, 520});
  CHECK(tokenizer.decode(std::vector{256, 300, 520}) == "ab<plain>");
  CHECK_FALSE(tokenizer.is_special(300));
}
