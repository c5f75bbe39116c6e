// expect: DecoderConfig: mlp_hidden must be a multiple of 16, one tensor-core tile
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 96;
#else
inline constexpr int mlp_hidden = 100;
#endif

static_assert(ivl::checked<ivl::DecoderConfig{.layers = 1,
                                              .hidden = 64,
                                              .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64},
                                              .mlp_hidden = mlp_hidden}>());
