// expect: VlmConfig: the patch grid .tile_px / patch_px. must be a whole number of blocks of the projector
#include "ivl/config/vlm.hpp"

#ifdef IVL_CONTROL
inline constexpr int scale = 1;
#else
inline constexpr int scale = 0;
#endif

static_assert(
    ivl::checked<ivl::VlmConfig{
        .vit = {.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 64},
        .projector = {.scale = scale},
        .decoder = {
            .layers = 1, .hidden = 64, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64}, .mlp_hidden = 64}}>());
