// expect: VitConfig: tile_px must be a whole number of patches
#include "ivl/config/vit.hpp"

#ifdef IVL_CONTROL
inline constexpr int tile_px = 448;
#else
inline constexpr int tile_px = 450;
#endif

static_assert(ivl::checked<ivl::VitConfig{
                  .layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 64, .patch_px = 14, .tile_px = tile_px}>());
