// expect: DecoderConfig: hidden must be a multiple of 32 where there are experts, one block of MXFP4
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int hidden = 64;
#else
inline constexpr int hidden = 80;
#endif

static_assert(ivl::checked<ivl::DecoderConfig{.layers = 1,
                                              .hidden = hidden,
                                              .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64},
                                              .moe = {.experts = 4, .active = 2, .mlp_hidden = 32}}>());
