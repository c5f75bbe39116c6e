// expect: VitConfig: every size must be set and positive
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int layers = 1;
#else
inline constexpr int layers = 0;
#endif

static_assert(ivl::checked<ivl::VitConfig{.layers = layers, .hidden = 64, .heads = 2, .mlp_hidden = 64}>());
