// expect: VisionTower: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/vision/vision_tower.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Tower = ivl::VisionTower<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 64, .tile_px = 28}>;

void run(ivl::cpu::Context& ctx, const Tower& tower, ivl::Rows<const float, 3 * 14 * 14> patches,
         const Tower::Scratch<float>& scratch, ivl::Rows<float, 64> x) {
  tower.embed_patches(ctx, patches, scratch, x);
}
