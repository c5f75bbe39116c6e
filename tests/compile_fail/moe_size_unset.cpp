// expect: MoeConfig: every size must be set and positive
#include "ivl/config/moe.hpp"

#ifdef IVL_CONTROL
inline constexpr int active = 2;
#else
inline constexpr int active = 0;
#endif

static_assert(ivl::checked<ivl::MoeConfig{.experts = 8, .active = active, .mlp_hidden = 32}>());
