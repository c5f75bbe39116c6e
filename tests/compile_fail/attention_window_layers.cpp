// expect: AttentionConfig: window_layers must be left out where window is 0
#include "ivl/config/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int window = 128;
#else
inline constexpr int window = 0;
#endif

static_assert(
    ivl::checked<ivl::AttentionConfig{
        .heads = 4, .kv_heads = 2, .head_dim = 64, .window = window, .window_layers = ivl::WindowLayers::odd}>());
