// expect: DecoderBlock: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/language/decoder_block.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Block = ivl::DecoderBlock<ivl::DecoderConfig{
    .layers = 1, .hidden = 64, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 16}, .mlp_hidden = 64}>;

void run(ivl::cpu::Context& ctx, const Block& block, const ivl::Batch& batch, const ivl::KvView& kv,
         ivl::Rows<const float, 16> angles, const Block::Scratch<float>& scratch, ivl::Rows<float, 64> x) {
  block.forward(ctx, batch, kv, 0, angles, 1e-6f, scratch, x);
}
