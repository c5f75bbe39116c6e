// What stands between texts and tokens in a checkpoint folder.
#include "ivl/model/processor.hpp"

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
  const Processor internlm3 = Processor::from_folder(folder.path());
  const std::vector<int> ids = internlm3.ids_of(internlm3.prompt({}, {}, "Hi", {}));
  REQUIRE(ids.size() > 2);
  CHECK(ids[0] == *internlm3.tokenizer().id_of("<s>"));
  CHECK(ids[1] == *internlm3.tokenizer().id_of("<|im_start|>"));
  CHECK(internlm3.stop_ids() == std::vector{*internlm3.tokenizer().id_of("<|im_end|>")});

  const Processor qwen3 = Processor::from_folder(tiny_folder("qwen3_tiny", "github"));
  CHECK(qwen3.ids_of(qwen3.prompt({}, {}, "Hi", {}))[0] == *qwen3.tokenizer().id_of("<|im_start|>"));
}

TEST_CASE("A folder without a tokenizer loads; what needs text says that there is none") {
  for (const char* format : {"github", "hf"}) {
    CAPTURE(format);
    const CheckpointCopy copy(tiny_folder("qwen3_tiny", format));
    for (const auto& entry : fs::directory_iterator(copy.path())) {
      const std::string name = entry.path().filename().string();
      if (name != "config.json" && name != "model.safetensors") fs::remove(entry.path());
    }
    cpu::Context ctx(1);
    const auto checkpoint = load<qwen3_tiny>(ctx, copy.path());
    const Processor& processor = checkpoint.processor;
    CHECK(!processor.has_tokenizer());
    CHECK(processor.stop_ids() == std::vector{282});  // the config's
    CHECK(processor.tokens_of(noise_picture(60, 60, 1), processor.tile_rules()) > 0);
    for (const std::string& error : {what_of<RequestError>([&] { processor.tokenizer(); }),
                                     what_of<RequestError>([&] { processor.image_token(); }),
                                     what_of<RequestError>([&] { processor.ids_of("Hi"); }),
                                     what_of<RequestError>([&] { processor.sources("Hi", 0); })})
      CHECK(contains(error, copy.path().string() + ": this folder has no tokenizer (tokenizer.json, "));
  }
  CHECK(Processor::from_folder(tiny_folder("qwen3_tiny", "hf")).has_tokenizer());
  const CheckpointCopy broken(tiny_folder("qwen3_tiny", "hf"));
  fs::rename(broken / "tokenizer.json", broken / "vocab.json");
  CHECK(contains(what_of<FileError>([&] { Processor::from_folder(broken.path()); }), "expected tokenizer.json"));
}

}  // namespace
