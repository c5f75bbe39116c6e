// expect: MoeConfig: mlp_hidden must be a multiple of 32, one block of MXFP4
#include "ivl/config/moe.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 96;
#else
inline constexpr int mlp_hidden = 80;
#endif

static_assert(ivl::checked<ivl::MoeConfig{.experts = 8, .active = 2, .mlp_hidden = mlp_hidden}>());
