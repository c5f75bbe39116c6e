// Sizes of the published checkpoints, at compile time: the exact parameter counts of the published tensor indices.
#include "ivl/config/checkpoints.hpp"

namespace {

using namespace ivl;

constexpr int qwen2_5_rows = 151674, qwen3_rows = 151936, internlm3_rows = 128512, gpt_oss_rows = 201088;

static_assert(parameters(intern_vit_300m) == 304'012'288);
static_assert(parameters(intern_vit_6b) == 5'536'496'000);

static_assert(parameters(qwen2_5_0_5b, qwen2_5_rows) == 629'697'920);
static_assert(parameters(qwen2_5_1_5b, qwen2_5_rows) == 1'776'283'136);
static_assert(parameters(qwen2_5_7b, qwen2_5_rows) == 7'612'820'992);
static_assert(parameters(qwen2_5_14b, qwen2_5_rows) == 14'766'040'064);
static_assert(parameters(qwen2_5_32b, qwen2_5_rows) == 32'759'882'752);
static_assert(parameters(qwen2_5_72b, qwen2_5_rows) == 72'699'813'888);
static_assert(parameters(qwen3_0_6b, qwen3_rows) == 751'632'384);
static_assert(parameters(qwen3_1_7b, qwen3_rows) == 2'031'739'904);
static_assert(parameters(qwen3_4b, qwen3_rows) == 4'411'424'256);
static_assert(parameters(qwen3_8b, qwen3_rows) == 8'190'735'360);
static_assert(parameters(qwen3_14b, qwen3_rows) == 14'768'307'200);
static_assert(parameters(qwen3_32b, qwen3_rows) == 32'762'123'264);
static_assert(parameters(qwen3_30b_a3b, qwen3_rows) == 30'532'122'624);
static_assert(parameters(qwen3_235b_a22b, qwen3_rows) == 235'093'634'560);
static_assert(parameters(gpt_oss_20b, gpt_oss_rows) == 20'914'757'184);
static_assert(parameters(internlm3_8b, internlm3_rows) == 8'804'241'408);

// The published index of InternVL3_5-8B says 17 056 636 928 bytes of bf16.
static_assert(2 * parameters(internvl3_5_8b, qwen3_rows) == 17'056'636'928);

/// The totals in billions, as the model cards round them.
constexpr bool rounds_to(std::int64_t parameters, double billions) {
  return parameters > (billions - 0.05) * 1e9 && parameters < (billions + 0.05) * 1e9;
}
static_assert(rounds_to(parameters(internvl3_9b, internlm3_rows), 9.1));
static_assert(rounds_to(parameters(internvl3_38b, qwen2_5_rows), 38.4));
static_assert(rounds_to(parameters(internvl3_78b, qwen2_5_rows), 78.4));
static_assert(rounds_to(parameters(internvl3_5_38b, qwen3_rows), 38.4));
static_assert(rounds_to(parameters(internvl3_5_gpt_oss_20b_a4b, gpt_oss_rows), 21.2));
static_assert(rounds_to(parameters(internvl3_5_30b_a3b, qwen3_rows), 30.8));
static_assert(rounds_to(parameters(internvl3_5_241b_a28b, qwen3_rows), 240.7));

static_assert(kv_bytes_per_token(qwen2_5_0_5b) == 12'288);
static_assert(kv_bytes_per_token(qwen2_5_72b) == 327'680);
static_assert(kv_bytes_per_token(qwen3_0_6b) == 114'688);
static_assert(kv_bytes_per_token(qwen3_32b) == 262'144);
static_assert(kv_bytes_per_token(qwen3_235b_a22b) == 192'512);
static_assert(kv_bytes_per_token(internlm3_8b) == 98'304 / 2);
static_assert(kv_bytes_per_token(gpt_oss_20b) == 49'152 / 2);  // every other layer has a window

static_assert(internvl3_5_1b.tokens_per_tile() == 256);
static_assert(intern_vit_300m.tokens() == 1025);
static_assert(internvl3_38b.projector.input(internvl3_38b.vit) == 12'800);

constexpr AttentionConfig windows_in(WindowLayers layers) { return {.window = 5, .window_layers = layers}; }
static_assert(windows_in(WindowLayers::all).window_of(0) == 5 && windows_in(WindowLayers::all).window_of(1) == 5);
static_assert(windows_in(WindowLayers::even).window_of(0) == 5 && windows_in(WindowLayers::even).window_of(1) == 0);
static_assert(windows_in(WindowLayers::odd).window_of(0) == 0 && windows_in(WindowLayers::odd).window_of(1) == 5);
constexpr int windows(int layers, WindowLayers with) {
  return DecoderConfig{.layers = layers, .attention = windows_in(with)}.windows();
}
static_assert(windows(5, WindowLayers::even) == 3 && windows(5, WindowLayers::odd) == 2);
static_assert(windows(5, WindowLayers::all) == 5 && qwen3_8b.windows() == 0 && gpt_oss_20b.windows() == 12);

template <VlmConfig... Configs>
constexpr bool all_checked(CheckpointList<Configs...>) {
  return (checked<Configs>() && ...);
}
static_assert(all_checked(AllCheckpoints{}));

}  // namespace
