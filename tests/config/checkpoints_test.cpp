// Sizes of the published checkpoints, at compile time: the exact parameter counts of the published tensor indices.
#include "ivl/config/checkpoints.hpp"

namespace {

using namespace ivl;

constexpr int qwen2_5_rows = 151674, qwen3_rows = 151936;

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

// The published index of InternVL3_5-8B says 17 056 636 928 bytes of bf16.
static_assert(2 * parameters(internvl3_5_8b, qwen3_rows) == 17'056'636'928);

static_assert(kv_bytes_per_token(qwen2_5_0_5b) == 12'288);
static_assert(kv_bytes_per_token(qwen2_5_72b) == 327'680);
static_assert(kv_bytes_per_token(qwen3_0_6b) == 114'688);
static_assert(kv_bytes_per_token(qwen3_32b) == 262'144);

static_assert(internvl3_5_1b.tokens_per_tile() == 256);
static_assert(intern_vit_300m.tokens() == 1025);
static_assert(internvl3_38b.projector.input(internvl3_38b.vit) == 12'800);

template <VlmConfig... Configs>
constexpr bool all_checked(CheckpointList<Configs...>) {
  return (checked<Configs>() && ...);
}
static_assert(all_checked(AllCheckpoints{}));

}  // namespace
