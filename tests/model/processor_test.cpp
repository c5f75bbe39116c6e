// What stands between texts and tokens in a checkpoint folder.
#include "ivl/model/checkpoint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../support/checkpoint_copy.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

TEST_CASE("A prompt for InternLM3 begins with its BOS, one for Qwen3 with the template") {
  const test::TemporaryFolder folder;
  fs::copy(fs::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer/sentence_piece", folder.path(),
           fs::copy_options::recursive);
  fs::copy(tiny_folder("internlm3_tiny", "github") / "config.json", folder / "config.json");
  const Processor internlm3 = load_processor(folder.path());
  const std::vector<int> ids = internlm3.prompt({}, {}, "Hi").ids;
  REQUIRE(ids.size() > 2);
  CHECK(ids[0] == *internlm3.tokenizer().id_of("<s>"));
  CHECK(ids[1] == *internlm3.tokenizer().id_of("<|im_start|>"));
  CHECK(internlm3.stop_ids() == std::vector{*internlm3.tokenizer().id_of("<|im_end|>")});

  const Processor qwen3 = load_processor(tiny_folder("qwen3_tiny", "github"));
  CHECK(qwen3.prompt({}, {}, "Hi").ids[0] == *qwen3.tokenizer().id_of("<|im_start|>"));
}

TEST_CASE("The chat_template of an HF folder writes its prompts; a GitHub folder's own code writes its") {
  const auto text_of_prompt = [](const fs::path& folder, int pictures) {
    const Processor processor = load_processor(folder);
    const std::vector<int> rows(std::size_t(pictures), 1);
    return text_of(processor.segments("Be brief.", {}, with_image_marks(processor.style(), "Hi", pictures), pictures),
                   rows);
  };
  const CheckpointCopy hf(tiny_folder("qwen3_tiny", "hf")), github(tiny_folder("qwen3_tiny", "github"));
  for (const CheckpointCopy* copy : {&hf, &github}) {
    std::ofstream(*copy / "chat_template.jinja")
        << "{% for m in messages %}[{{ m.role }}]{% for part in m.content %}{{ part.text if part.type == 'text' else "
           "'<IMG_CONTEXT>' }}{% endfor %}{% endfor %}[assistant]";
  }
  CHECK(text_of_prompt(hf.path(), 1) == "[system]Be brief.[user]<img><IMG_CONTEXT></img>Hi[assistant]");
  CHECK(text_of_prompt(github.path(), 1) == text_of_prompt(tiny_folder("qwen3_tiny", "github"), 1));

  // Without any template it is the published one that counts.
  const std::string published = text_of_prompt(tiny_folder("qwen3_tiny", "hf"), 1);
  fs::remove(hf / "chat_template.jinja");
  CHECK(text_of_prompt(hf.path(), 1) == published);
  CHECK(published ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<img><IMG_CONTEXT></img>\nHi<|im_end|>\n"
        "<|im_start|>assistant\n");
}

TEST_CASE("A template that writes the BOS leaves none to put before the prompt") {
  const test::TemporaryFolder folder;
  fs::copy(fs::path(IVL_SOURCE_DIR) / "tests/golden/tokenizer/sentence_piece", folder.path(),
           fs::copy_options::recursive);
  Json config = read_json(tiny_folder("internlm3_tiny", "hf") / "config.json");
  config.erase("image_token_id");  // another tokenizer's
  folder.write("config.json", config.dump());
  const auto ids = [&](const char* head) {
    folder.write("chat_template.jinja", std::string(head) + "{% for m in messages %}{{ m.content }}{% endfor %}");
    return load_processor(folder.path()).prompt({}, {}, "Hi").ids;
  };
  const int bos = *load_processor(folder.path()).tokenizer().id_of("<s>");
  CHECK(ids("").front() == bos);
  CHECK(ids("<s>").front() == bos);
  const std::vector<int> once = ids("<s>");
  CHECK(std::ranges::count(once, bos) == 1);
}

TEST_CASE("Files of a tokenizer that are not whole are refused, rather than taken for none") {
  const CheckpointCopy broken(tiny_folder("qwen3_tiny", "hf"));
  fs::remove(broken / "tokenizer.json");
  std::ofstream(broken / "vocab.json") << "{}";
  CHECK(contains(what_of<FileError>([&] { load_processor(broken.path()); }), "expected tokenizer.json"));
}

}  // namespace
