// expect: DecoderConfig: every size must be set and positive
#include "ivl/config/decoder.hpp"

#ifdef IVL_CONTROL
inline constexpr int layers = 1;
#else
inline constexpr int layers = 0;
#endif

static_assert(
    ivl::checked<ivl::DecoderConfig{
        .layers = layers, .hidden = 64, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 64}, .mlp_hidden = 64}>());
