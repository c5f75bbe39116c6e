// Whole models on CUDA: the tiny golden checkpoints and the bundled one, by the code and the bounds of the CPU's tests.
// On a GPU all of it; in the emulator, which needs a second or two for each, less. One file, since each would compile
// all kernels once more.
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ivl/cuda/cuda.cuh"
#include "tests/support/drawn_answers.hpp"
#include "tests/support/engine_on.hpp"
#include "tests/support/gguf_floats.hpp"
#include "tests/support/golden.hpp"
#include "tests/support/tiny_models.hpp"
#include "tests/support/unseen_scenes.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

#if defined(__CUDACC__)
const Effort effort;
#else
const Effort effort{.step_rows = {512}, .bfloat16_prompts = 1};
#endif

template <VlmConfig C>
void check_case(const std::string& name, const char* format = "hf") {
  ivl::cuda::Context ctx;
  const Checkpoint<C> checkpoint = load<C>(ctx, tiny_folder(name, format));
  check_golden(ctx, checkpoint, Golden(tiny_folder(name, "golden.safetensors")), effort);
}

}  // namespace

TEST_CASE("on CUDA Qwen3 behind the 300M kind of tower is the reference") { check_case<qwen3_tiny>("qwen3_tiny"); }
TEST_CASE("on CUDA Qwen2.5 with seven query heads a key head is the reference") {
  check_case<qwen2_gqa7>("qwen2_gqa7");
}
TEST_CASE("on CUDA Qwen3-MoE is the reference") { check_case<qwen3_moe_tiny>("qwen3_moe_tiny"); }
TEST_CASE("on CUDA InternLM3 with dynamic NTK is the reference") { check_case<internlm3_tiny>("internlm3_tiny"); }
TEST_CASE("on CUDA GPT-OSS in MXFP4 is the reference") { check_case<gpt_oss_tiny>("gpt_oss_tiny", "mxfp4"); }
TEST_CASE("on CUDA the 6B kind of tower is the reference") { check_case<vit6b_qwen3>("vit6b_qwen3"); }

TEST_CASE("on CUDA a GGUF file that mixes types computes with the numbers that its blocks mean") {
  ivl::cuda::Context ctx;
  const GgufFiles files{tiny_folder("qwen3_moe_tiny", "mixed") / "model.gguf",
                        tiny_folder("qwen3_moe_tiny", "gguf") / "mmproj.gguf"};
  const auto mixed = load<qwen3_moe_tiny>(ctx, files.model, {.mmproj = files.mmproj});
  const GgufFloats floats(files);
  Vlm<qwen3_moe_tiny> meant;
  meant.facts = mixed.vlm.facts;
  place_weights(ctx, bind_weights(weight_slots(meant), meant.facts, floats, {.dialects = {Dialect::gguf}}), "floats");
  const std::vector<std::int32_t> ids{5, 60, 7, 120, 9, 200, 11, 4, 250, 31};
  const auto exact = logits<float>(ctx, mixed.vlm, ids).values;
  // Rows of floats take weights one by one, whatever their format.
  CHECK(exact == logits<float>(ctx, meant, ids).values);
  // Tensor cores round the rows alone: as far from floats as the reference's own bf16 run, in the median of places.
  const Golden golden(tiny_folder("qwen3_moe_tiny", "golden.safetensors"));
  const int vocabulary = mixed.vlm.facts.vocab_rows;
  const auto rounded = logits<bf16>(ctx, mixed.vlm, ids).values;
  std::vector<float> ours;
  for (std::size_t at = 0; at < exact.size(); at += std::size_t(vocabulary))
    ours.push_back(float(divergence(&exact[at], &rounded[at], vocabulary)));
  const auto reference = golden.floats("kl_bfloat16");
  CHECK(median(ours) <= 1.25 * median(std::vector<float>(reference.begin(), reference.end())));
}

TEST_CASE("on CUDA an engine makes of pictures what the reference makes of their pixel values") {
  ivl::cuda::Context ctx;
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  check_pictures(ctx, checkpoint.vlm, {noise_picture(30, 50, 1), noise_picture(301, 97, 2)},
                 {.tile_px = 56, .max_tiles = 4});
}

TEST_CASE("on CUDA sequences that share an engine, drawn ones among them, say what each says alone") {
  ivl::cuda::Context ctx;
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3}, {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, {15}};
  const auto begin = [&](Engine& engine, std::size_t n) {
    const SamplingOptions sampling{.temperature = n == 2 ? 0.8f : 0.0f, .top_k = 0, .seed = 5};
    const int longest = 4 + 2 * int(n);  // so that the batch shrinks
    return engine.start({.prompt = {prompts[n]},
                         .generation = {.max_new_tokens = longest, .sampling = sampling, .ignore_stop_ids = true},
                         .tokenizer = &checkpoint.processor.tokenizer()});
  };
  using OnCuda = RunnerAndEngine<qwen3_tiny, ivl::cuda::Context, float>;
  OnCuda together(ctx, checkpoint.vlm, {.kv_tokens = 256, .max_sequences = 3, .max_rows = 8});
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (std::size_t n = 0; n < prompts.size(); ++n) sequences.push_back(begin(together.engine, n));
  together.engine.run();
  for (std::size_t n = 0; n < prompts.size(); ++n) {
    OnCuda on(ctx, checkpoint.vlm, {.kv_tokens = 64});
    const auto alone = begin(on.engine, n);
    on.engine.run();
    CAPTURE(n);
    CHECK(ids_of(*alone).size() > 0);
    CHECK(ids_of(*sequences[n]) == ids_of(*alone));
  }
}

TEST_CASE("on CUDA a seed draws what it draws on the CPU, beside other sequences and with every setting") {
  ivl::cuda::Context ctx;
  check_drawn_answers(ctx, load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf")));
}

TEST_CASE("on CUDA the dense toy answers questions about unseen scenes as well as on the CPU") {
  const auto folder = std::filesystem::path(IVL_SOURCE_DIR) / "examples/drawn_scenes/checkpoint";
  ivl::cuda::Context ctx;
#if defined(__CUDACC__)
  check_accuracy<drawn_scenes>(ctx, folder, 97);
#else
  const auto scores = ask_all<drawn_scenes>(ctx, folder, 1000);  // about scene 0 alone
  // Of a handful of questions a toy may miss one; what is broken answers none.
  CHECK(scores.at("all").asked >= 2);
  CHECK(2 * scores.at("all").right > scores.at("all").asked);
#endif
}

#if !defined(__CUDACC__)
TEST_CASE("on CUDA a decoding step is one graph, allocates nothing and waits once, for its token") {
  ivl::cuda::Context ctx;
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  for (const SamplingOptions& sampling :
       {SamplingOptions{}, {.temperature = 1, .top_p = 0.9f, .repetition_penalty = 1.1f}}) {
    CAPTURE(sampling.temperature);
    RunnerAndEngine<qwen3_tiny, ivl::cuda::Context, float> on(ctx, checkpoint.vlm, {.kv_tokens = 64});
    Engine& engine = on.engine;
    const auto sequence =
        engine.start({.prompt = {{1, 2, 3}},
                      .generation = {.max_new_tokens = 12, .sampling = sampling, .ignore_stop_ids = true},
                      .tokenizer = &checkpoint.processor.tokenizer()});
    // The prompt's step; then one that lets scratch grow, and one that is captured.
    for (int i = 0; i < 3; ++i) REQUIRE(engine.step());
    for (int i = 0; i < 4; ++i) {
      const simt::Stats before = simt::stats();
      REQUIRE(engine.step());
      CHECK(simt::stats().graph_launches == before.graph_launches + 1);
      CHECK(simt::stats().device_allocations == before.device_allocations);
      CHECK(simt::stats().waits == before.waits + 1);
    }
  }
}
#endif
