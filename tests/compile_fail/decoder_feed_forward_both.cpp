// expect: DecoderConfig: exactly one of mlp_hidden .dense layers. and moe .mixtures of experts. must be set
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 0;
#else
inline constexpr int mlp_hidden = 64;
#endif

static_assert(ivl::checked<ivl::DecoderConfig{.layers = 1,
                                              .hidden = 64,
                                              .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64},
                                              .mlp_hidden = mlp_hidden,
                                              .moe = {.experts = 4, .active = 2, .mlp_hidden = 32}}>());
