// What stands between texts and tokens in a checkpoint folder.
#include "ivl/model/checkpoint.hpp"

#include <doctest/doctest.h>

#include <filesystem>
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

TEST_CASE("Files of a tokenizer that are not whole are refused, rather than taken for none") {
  const CheckpointCopy broken(tiny_folder("qwen3_tiny", "hf"));
  fs::remove(broken / "tokenizer.json");
  std::ofstream(broken / "vocab.json") << "{}";
  CHECK(contains(what_of<FileError>([&] { load_processor(broken.path()); }), "expected tokenizer.json"));
}

}  // namespace
