// expect: MoeConfig: a row cannot go to more experts than there are
#include "ivl/config/moe.hpp"

#ifdef IVL_CONTROL
inline constexpr int active = 8;
#else
inline constexpr int active = 9;
#endif

static_assert(ivl::checked<ivl::MoeConfig{.experts = 8, .active = active, .mlp_hidden = 32}>());
