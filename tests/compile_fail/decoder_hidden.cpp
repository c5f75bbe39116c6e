// expect: DecoderConfig: hidden must be a multiple of 16, one tensor-core tile
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int hidden = 64;
#else
inline constexpr int hidden = 60;
#endif

static_assert(
    ivl::checked<ivl::DecoderConfig{
        .layers = 1, .hidden = hidden, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64}, .mlp_hidden = 64}>());
