// expect: AttentionConfig: every size must be set and positive
#include "ivl/config/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int head_dim = 64;
#else
inline constexpr int head_dim = 0;
#endif

static_assert(ivl::checked<ivl::AttentionConfig{.heads = 4, .kv_heads = 2, .head_dim = head_dim}>());
