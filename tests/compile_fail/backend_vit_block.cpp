// expect: VitBlock: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/vision/vit_block.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Block = ivl::VitBlock<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 64, .tile_px = 28}>;

void run(ivl::cpu::Context& ctx, const Block& block, const ivl::Batch& tiles, const ivl::KvView& kv,
         const Block::Scratch<float>& scratch, ivl::Rows<float, 64> x) {
  block.forward(ctx, tiles, kv, 1e-6f, scratch, x);
}
