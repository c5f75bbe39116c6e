// expect: VitConfig: hidden must split evenly over heads
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int heads = 4;
#else
inline constexpr int heads = 3;
#endif

static_assert(ivl::checked<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = heads, .mlp_hidden = 64}>());
