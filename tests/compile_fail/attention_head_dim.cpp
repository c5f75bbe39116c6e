// expect: AttentionConfig: head_dim must be a multiple of 16, one tensor-core tile
#include "ivl/config/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int head_dim = 80;
#else
inline constexpr int head_dim = 72;
#endif

static_assert(ivl::checked<ivl::AttentionConfig{.heads = 4, .kv_heads = 2, .head_dim = head_dim}>());
