// The tiny checkpoints of tests/golden/models as types, and what tests of whole models do with them.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/config/vlm.hpp"
#include "ivl/testing/random.hpp"
#include "tests/support/text.hpp"

namespace ivl_test {

using namespace ivl;

inline constexpr VlmConfig qwen3_tiny{
    .vit = {.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 80, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 3,
                .hidden = 48,
                .attention = {.heads = 5, .kv_heads = 1, .head_dim = 32, .head_norm = true},
                .mlp_hidden = 48}};
inline constexpr VlmConfig qwen3_small_stream{
    .vit = {.layers = 1, .hidden = 64, .heads = 1, .mlp_hidden = 48, .tile_px = 112},
    .projector = {},
    .decoder = {.layers = 1,
                .hidden = 80,
                .attention = {.heads = 2, .kv_heads = 1, .head_dim = 128, .head_norm = true},
                .mlp_hidden = 112}};
inline constexpr VlmConfig qwen2_gqa7{
    .vit = {.layers = 3, .hidden = 32, .heads = 1, .mlp_hidden = 112, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 3,
                .hidden = 48,
                .attention = {.heads = 7, .kv_heads = 1, .head_dim = 32, .qkv_bias = true},
                .mlp_hidden = 48}};
/// Context 64, stretched to 128.
inline constexpr VlmConfig qwen2_dynamic{
    .vit = {.layers = 1, .hidden = 32, .heads = 1, .mlp_hidden = 48, .tile_px = 84},
    .projector = {},
    .decoder = {.layers = 3,
                .hidden = 64,
                .attention = {.heads = 2, .kv_heads = 1, .head_dim = 32, .qkv_bias = true},
                .mlp_hidden = 80}};
inline constexpr VlmConfig vit6b_qwen3{
    .vit = {.layers = 1,
            .hidden = 96,
            .heads = 3,
            .mlp_hidden = 112,
            .tile_px = 56,
            .norm = NormKind::rms_norm,
            .qkv_bias = false,
            .qk_norm = true},
    .projector = {},
    .decoder = {.layers = 1,
                .hidden = 48,
                .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64, .head_norm = true},
                .mlp_hidden = 80}};
inline constexpr VlmConfig qwen3_moe_tiny{
    .vit = {.layers = 1, .hidden = 32, .heads = 1, .mlp_hidden = 48, .tile_px = 56},
    .projector = {},
    .decoder = {.layers = 2,
                .hidden = 64,
                .attention = {.heads = 4, .kv_heads = 2, .head_dim = 32, .head_norm = true},
                .moe = {.experts = 8, .active = 3, .mlp_hidden = 32}}};
/// YaRN from 64 tokens to 256.
inline constexpr VlmConfig gpt_oss_tiny{.vit = qwen3_moe_tiny.vit,
                                        .projector = {},
                                        .decoder = {.layers = 3,
                                                    .hidden = 64,
                                                    .attention = {.heads = 4,
                                                                  .kv_heads = 2,
                                                                  .head_dim = 32,
                                                                  .qkv_bias = true,
                                                                  .out_bias = true,
                                                                  .sinks = true,
                                                                  .window = 16,
                                                                  .window_layers = WindowLayers::even},
                                                    .moe = {.experts = 6,
                                                            .active = 2,
                                                            .mlp_hidden = 32,
                                                            .activation = ExpertActivation::clamped_swi_glu,
                                                            .bias = true}}};
/// Context 64, stretched by 6.
inline constexpr VlmConfig internlm3_tiny{
    .vit = qwen3_moe_tiny.vit,
    .projector = {},
    .decoder = {.layers = 2, .hidden = 64, .attention = {.heads = 4, .kv_heads = 1, .head_dim = 32}, .mlp_hidden = 80}};

/// `format`: "hf" or "github", or another name in the checkpoint's folder. of gpt_oss_tiny also "mxfp4".
inline std::filesystem::path tiny_folder(std::string_view name, std::string_view format) {
  return std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/models" / name / format;
}

}  // namespace ivl_test
