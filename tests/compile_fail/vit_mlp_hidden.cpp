// expect: VitConfig: mlp_hidden must be a multiple of 16, one tensor-core tile
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int mlp_hidden = 4304;
#else
inline constexpr int mlp_hidden = 4300;
#endif

static_assert(ivl::checked<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = mlp_hidden}>());
