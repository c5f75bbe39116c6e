// expect: VitConfig: every size must be set and positive
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 64;
#else
inline constexpr int mlp_hidden = -64;
#endif

static_assert(ivl::checked<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = mlp_hidden}>());
