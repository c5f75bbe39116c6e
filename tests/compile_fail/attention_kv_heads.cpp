// expect: AttentionConfig: heads must be a multiple of kv_heads, so that each group shares one
#include "ivl/config/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int kv_heads = 2;
#else
inline constexpr int kv_heads = 3;
#endif

static_assert(ivl::checked<ivl::AttentionConfig{.heads = 4, .kv_heads = kv_heads, .head_dim = 64}>());
