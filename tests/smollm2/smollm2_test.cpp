// A language model that people download, as a type of its own: SmolLM2-135M-Instruct in Q4_1, a Llama, against
// llama.cpp's greedy text (tests/golden/make_smollm2.py). Built where IVL_SMOLLM2 says where the file is.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/read_config.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/files/gguf_writer.hpp"
#include "ivl/files/json.hpp"
#include "ivl/model/load.hpp"
#include "ivl/text/tokenizer.hpp"
#include "tests/support/engine_on.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/tiny_models.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Behind a tiny tower: every model here has one.
constexpr VlmConfig smollm2{
    .vit = qwen3_tiny.vit,
    .projector = {},
    .decoder = {
        .layers = 30, .hidden = 576, .attention = {.heads = 9, .kv_heads = 3, .head_dim = 64}, .mlp_hidden = 1536}};

/// The mmproj of qwen3_tiny, with a projector of zeros as wide as `smollm2`.
void write_tower(const std::filesystem::path& to) {
  const Gguf file(tiny_folder("qwen3_tiny", "gguf") / "mmproj.gguf");
  const std::string_view width = "clip.vision.projection_dim";
  GgufMetadata metadata;
  for (const std::string_view key : file.keys())
    if (key != width) metadata.add(key, file.value_of(key));
  metadata.add(width, smollm2.decoder.hidden);
  std::vector<GgufTensorToWrite> tensors;
  for (const std::string_view name : file.names()) {
    const GgufTensor& tensor = *file.find(name);
    Shape shape;
    for (const std::int64_t size : tensor.shape) shape.push_back(size == qwen3_tiny.decoder.hidden ? 576 : size);
    const bool wider = name.starts_with("mm.") && shape != tensor.shape;
    tensors.push_back({std::string(name), tensor.type, wider ? shape : tensor.shape, [=](const ByteSink& write) {
                         if (!wider) return write(tensor.bytes);
                         write(std::vector<std::byte>(std::size_t(*bytes_of(tensor.type, *elements_of(shape)))));
                       }});
  }
  write_gguf(to, metadata, tensors);
}

TEST_CASE("SmolLM2 in Q4_1 writes the greedy text that llama.cpp writes of its weights as floats, for 64 tokens") {
  const std::filesystem::path path = IVL_SMOLLM2;
  const Json golden = read_json(std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/smollm2.json");
  const test::TemporaryFolder folder;
  write_tower(folder / "tower.gguf");
  cpu::Context ctx;
  const Vlm<smollm2> vlm = load_weights<smollm2>(ctx, path, read_checkpoint_config(path, folder / "tower.gguf"));
  const Gguf model(path);
  const Tokenizer tokenizer = Tokenizer::from_gguf(model);
  const int end = model.get<int>("tokenizer.ggml.eos_token_id");
  RunnerAndEngine<smollm2, cpu::Context, float> on(ctx, vlm, {.kv_tokens = 256});
  for (const Json& answer : golden["answers"]) {
    const std::vector<int> ids = tokenizer.encode(answer["prompt"].get<std::string>());
    std::vector<int> said = ids_of(*run(on.engine, {.prompt = {.ids = {ids.begin(), ids.end()}},
                                                    .generation = {.max_new_tokens = 64, .ignore_stop_ids = true},
                                                    .tokenizer = &tokenizer}));
    CHECK(said.size() == 64);
    said.erase(std::ranges::find(said, end), said.end());
    const std::string text = tokenizer.decode(said);
    CHECK(text == answer["exact_text"].get<std::string>());
    // With activations of 8 bits llama.cpp itself says something else sooner or later.
    const auto rounded = answer["text"].get<std::string>();
    MESSAGE("like its answer from codes in the first " << std::ranges::mismatch(text, rounded).in1 - text.begin()
                                                       << " of " << rounded.size() << " bytes");
  }
}

}  // namespace
