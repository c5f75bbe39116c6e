// expect: VitConfig: head_dim .hidden / heads. must be a multiple of 16, one tensor-core tile
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int hidden = 1600;
#else
inline constexpr int hidden = 1000;
#endif

static_assert(ivl::checked<ivl::VitConfig{.layers = 1, .hidden = hidden, .heads = 25, .mlp_hidden = 64}>());
