// expect: Decoder: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/language/decoder.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Language = ivl::Decoder<ivl::DecoderConfig{
    .layers = 1, .hidden = 64, .attention = {.heads = 4, .kv_heads = 2, .head_dim = 16}, .mlp_hidden = 64}>;

void run(ivl::cpu::Context& ctx, const Language& language, const std::int32_t* sources, ivl::Rows<float, 64> x) {
  language.embed_rows(ctx, sources, ivl::Rows<const float, 64>(), x);
}
