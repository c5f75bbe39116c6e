// Every checkpoint that the library runs, as a value. `load<internvl3_5_8b>` makes it a type.
#pragma once
#include "ivl/config/vlm.hpp"

namespace ivl {

// ---- vision towers ----------------------------------------------------------------------------------------------
inline constexpr VitConfig intern_vit_300m{.layers = 24, .hidden = 1024, .heads = 16, .mlp_hidden = 4096};
inline constexpr VitConfig intern_vit_6b{.layers = 45,
                                         .hidden = 3200,
                                         .heads = 25,
                                         .mlp_hidden = 12800,
                                         .norm = NormKind::rms_norm,
                                         .qkv_bias = false,
                                         .qk_norm = true};

// ---- Qwen2.5 decoders -------------------------------------------------------------------------------------------
inline constexpr DecoderConfig qwen2_5_0_5b{.layers = 24,
                                            .hidden = 896,
                                            .attention = {.heads = 14, .kv_heads = 2, .head_dim = 64, .qkv_bias = true},
                                            .mlp_hidden = 4864};
inline constexpr DecoderConfig qwen2_5_1_5b{
    .layers = 28,
    .hidden = 1536,
    .attention = {.heads = 12, .kv_heads = 2, .head_dim = 128, .qkv_bias = true},
    .mlp_hidden = 8960};
inline constexpr DecoderConfig qwen2_5_7b{.layers = 28,
                                          .hidden = 3584,
                                          .attention = {.heads = 28, .kv_heads = 4, .head_dim = 128, .qkv_bias = true},
                                          .mlp_hidden = 18944};
inline constexpr DecoderConfig qwen2_5_14b{.layers = 48,
                                           .hidden = 5120,
                                           .attention = {.heads = 40, .kv_heads = 8, .head_dim = 128, .qkv_bias = true},
                                           .mlp_hidden = 13824};
inline constexpr DecoderConfig qwen2_5_32b{.layers = 64,
                                           .hidden = 5120,
                                           .attention = {.heads = 40, .kv_heads = 8, .head_dim = 128, .qkv_bias = true},
                                           .mlp_hidden = 27648};
inline constexpr DecoderConfig qwen2_5_72b{.layers = 80,
                                           .hidden = 8192,
                                           .attention = {.heads = 64, .kv_heads = 8, .head_dim = 128, .qkv_bias = true},
                                           .mlp_hidden = 29568};

// ---- Qwen3 decoders ---------------------------------------------------------------------------------------------
inline constexpr DecoderConfig qwen3_0_6b{.layers = 28,
                                          .hidden = 1024,
                                          .attention = {.heads = 16, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                          .mlp_hidden = 3072};
inline constexpr DecoderConfig qwen3_1_7b{.layers = 28,
                                          .hidden = 2048,
                                          .attention = {.heads = 16, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                          .mlp_hidden = 6144};
inline constexpr DecoderConfig qwen3_4b{.layers = 36,
                                        .hidden = 2560,
                                        .attention = {.heads = 32, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                        .mlp_hidden = 9728};
inline constexpr DecoderConfig qwen3_8b{.layers = 36,
                                        .hidden = 4096,
                                        .attention = {.heads = 32, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                        .mlp_hidden = 12288};
inline constexpr DecoderConfig qwen3_14b{.layers = 40,
                                         .hidden = 5120,
                                         .attention = {.heads = 40, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                         .mlp_hidden = 17408};
inline constexpr DecoderConfig qwen3_32b{.layers = 64,
                                         .hidden = 5120,
                                         .attention = {.heads = 64, .kv_heads = 8, .head_dim = 128, .head_norm = true},
                                         .mlp_hidden = 25600};

// ---- Qwen3-MoE decoders -----------------------------------------------------------------------------------------
inline constexpr DecoderConfig qwen3_30b_a3b{
    .layers = 48,
    .hidden = 2048,
    .attention = {.heads = 32, .kv_heads = 4, .head_dim = 128, .head_norm = true},
    .moe = {.experts = 128, .active = 8, .mlp_hidden = 768}};
inline constexpr DecoderConfig qwen3_235b_a22b{
    .layers = 94,
    .hidden = 4096,
    .attention = {.heads = 64, .kv_heads = 4, .head_dim = 128, .head_norm = true},
    .moe = {.experts = 128, .active = 8, .mlp_hidden = 1536}};

// ---- the GPT-OSS decoder ----------------------------------------------------------------------------------------
inline constexpr DecoderConfig gpt_oss_20b{
    .layers = 24,
    .hidden = 2880,
    .attention = {.heads = 64,
                  .kv_heads = 8,
                  .head_dim = 64,
                  .qkv_bias = true,
                  .out_bias = true,
                  .sinks = true,
                  .window = 128,
                  .window_layers = WindowLayers::even},
    .moe = {
        .experts = 32, .active = 4, .mlp_hidden = 2880, .activation = ExpertActivation::clamped_swi_glu, .bias = true}};

// ---- the InternLM3 decoder --------------------------------------------------------------------------------------
inline constexpr DecoderConfig internlm3_8b{
    .layers = 48, .hidden = 4096, .attention = {.heads = 32, .kv_heads = 2, .head_dim = 128}, .mlp_hidden = 10240};

// ---- InternVL3 --------------------------------------------------------------------------------------------------
inline constexpr VlmConfig internvl3_1b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen2_5_0_5b};
inline constexpr VlmConfig internvl3_2b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen2_5_1_5b};
inline constexpr VlmConfig internvl3_8b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen2_5_7b};
inline constexpr VlmConfig internvl3_9b{.vit = intern_vit_300m, .projector = {}, .decoder = internlm3_8b};
inline constexpr VlmConfig internvl3_14b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen2_5_14b};
inline constexpr VlmConfig internvl3_38b{.vit = intern_vit_6b, .projector = {}, .decoder = qwen2_5_32b};
inline constexpr VlmConfig internvl3_78b{.vit = intern_vit_6b, .projector = {}, .decoder = qwen2_5_72b};

// ---- InternVL3.5 ------------------------------------------------------------------------------------------------
inline constexpr VlmConfig internvl3_5_1b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_0_6b};
inline constexpr VlmConfig internvl3_5_2b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_1_7b};
inline constexpr VlmConfig internvl3_5_4b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_4b};
inline constexpr VlmConfig internvl3_5_8b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_8b};
inline constexpr VlmConfig internvl3_5_14b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_14b};
inline constexpr VlmConfig internvl3_5_38b{.vit = intern_vit_6b, .projector = {}, .decoder = qwen3_32b};
inline constexpr VlmConfig internvl3_5_gpt_oss_20b_a4b{.vit = intern_vit_300m, .projector = {}, .decoder = gpt_oss_20b};
inline constexpr VlmConfig internvl3_5_30b_a3b{.vit = intern_vit_300m, .projector = {}, .decoder = qwen3_30b_a3b};
inline constexpr VlmConfig internvl3_5_241b_a28b{.vit = intern_vit_6b, .projector = {}, .decoder = qwen3_235b_a22b};

// ---- the bundled toys -------------------------------------------------------------------------------------------
/// Trained on drawn scenes (examples/drawn_scenes): InternVL3.5's topology at 1/250 of the 1B's size.
inline constexpr VlmConfig drawn_scenes{
    .vit = {.layers = 5, .hidden = 192, .heads = 3, .mlp_hidden = 640, .tile_px = 112},
    .projector = {},
    .decoder = {.layers = 4,
                .hidden = 192,
                .attention = {.heads = 6, .kv_heads = 2, .head_dim = 32, .head_norm = true},
                .mlp_hidden = 448}};
/// Trained on the same scenes: the same tower, and a decoder of GPT-OSS's topology.
inline constexpr VlmConfig drawn_scenes_moe{.vit = drawn_scenes.vit,
                                            .projector = {},
                                            .decoder = {.layers = 4,
                                                        .hidden = 192,
                                                        .attention = {.heads = 6,
                                                                      .kv_heads = 2,
                                                                      .head_dim = 32,
                                                                      .qkv_bias = true,
                                                                      .out_bias = true,
                                                                      .sinks = true,
                                                                      .window = 32,
                                                                      .window_layers = WindowLayers::even},
                                                        .moe = {.experts = 8,
                                                                .active = 2,
                                                                .mlp_hidden = 160,
                                                                .activation = ExpertActivation::clamped_swi_glu,
                                                                .bias = true}}};

/// A list of checkpoints: what `with_checkpoint` may instantiate.
template <VlmConfig... Configs>
struct CheckpointList {};

using AllCheckpoints = CheckpointList<drawn_scenes, drawn_scenes_moe, internvl3_1b, internvl3_2b, internvl3_8b,
                                      internvl3_9b, internvl3_14b, internvl3_38b, internvl3_78b, internvl3_5_1b,
                                      internvl3_5_2b, internvl3_5_4b, internvl3_5_8b, internvl3_5_14b, internvl3_5_38b,
                                      internvl3_5_gpt_oss_20b_a4b, internvl3_5_30b_a3b, internvl3_5_241b_a28b>;

}  // namespace ivl
