// Tiny random checkpoints of every architecture against what transformers computes from them
// (tests/golden/make_models.py), in both layouts of folders and as GGUF.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "../support/golden.hpp"
#include "../support/tiny_models.hpp"
#include "ivl/cpu/cpu.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;
namespace fs = std::filesystem;

template <VlmConfig C>
void check_case(const std::string& name, const std::vector<const char*>& formats = {"hf", "github", "gguf"}) {
  const fs::path folder = fs::path(IVL_SOURCE_DIR) / "tests/golden/models" / name;
  cpu::Context ctx(2);
  int goldens = 0;
  for (const char* format : formats) {
    CAPTURE(format);
    const Checkpoint<C> checkpoint = load<C>(ctx, folder / format);
    Effort effort;
    if (format != std::string_view("hf")) effort.step_rows = {7};  // the weights are those of hf/
    if (format == std::string_view("gguf")) effort.bfloat16_prompts = 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".safetensors") continue;
      check_golden(ctx, checkpoint, Golden(entry.path()), effort);
      ++goldens;
    }
  }
  CHECK(goldens >= int(formats.size()));
}

TEST_CASE("Qwen3 behind the 300M kind of tower is the reference") { check_case<qwen3_tiny>("qwen3_tiny"); }
TEST_CASE("Qwen3 with activations so small that epsilons show is the reference") {
  check_case<qwen3_small_stream>("qwen3_small_stream", {"hf", "github"});
}
TEST_CASE("Qwen2.5 with seven query heads a key head is the reference") {
  check_case<qwen2_gqa7>("qwen2_gqa7", {"hf", "github"});
}
TEST_CASE("Qwen2.5 with dynamic NTK is the reference on both sides of its context") {
  check_case<qwen2_dynamic>("qwen2_dynamic");
}
TEST_CASE("InternLM3 with dynamic NTK is the reference on both sides of its context") {
  check_case<internlm3_tiny>("internlm3_tiny");
}
TEST_CASE("Qwen3-MoE is the reference") { check_case<qwen3_moe_tiny>("qwen3_moe_tiny"); }
TEST_CASE("GPT-OSS is the reference, in bf16 and in MXFP4, beyond its window and its original context") {
  check_case<gpt_oss_tiny>("gpt_oss_tiny", {"hf", "github", "mxfp4", "gguf"});
}
TEST_CASE("The 6B kind of tower is the reference") { check_case<vit6b_qwen3>("vit6b_qwen3"); }

TEST_CASE("An engine makes of pictures what the reference makes of their pixel values") {
  cpu::Context ctx(2);
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  check_pictures(ctx, checkpoint.vlm, {noise_picture(30, 50, 1), noise_picture(301, 97, 2)}, {.tile_px = 56});
}

}  // namespace
