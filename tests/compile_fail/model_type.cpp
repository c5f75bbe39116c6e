// expect: VitConfig: mlp_hidden must be a multiple of 16
// A wrong structure shows where a model is made of it, not only where someone asks.
#include "ivl/model/vlm.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 64;
#else
inline constexpr int mlp_hidden = 63;
#endif

ivl::Vlm<ivl::VlmConfig{
    .vit = {.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = mlp_hidden},
    .projector = {},
    .decoder = {.layers = 1, .hidden = 64, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64}, .mlp_hidden = 64}}>
    vlm;
