// expect: AttentionConfig: window must be 0 .none. or a positive number of tokens
#include "ivl/config/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int window = 128;
#else
inline constexpr int window = -1;
#endif

static_assert(ivl::checked<ivl::AttentionConfig{.heads = 4, .kv_heads = 2, .head_dim = 64, .window = window}>());
