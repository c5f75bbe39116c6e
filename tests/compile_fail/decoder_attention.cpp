// expect: AttentionConfig: heads must be a multiple of kv_heads
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int heads = 8;
#else
inline constexpr int heads = 7;
#endif

static_assert(
    ivl::checked<ivl::DecoderConfig{
        .layers = 1, .hidden = 64, .attention = {.heads = heads, .kv_heads = 2, .head_dim = 64}, .mlp_hidden = 64}>());
