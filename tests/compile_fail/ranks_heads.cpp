// expect: DecoderConfig: heads and kv_heads must be multiples of ranks, since each has whole heads and their keys
#include "ivl/language/decoder_block.hpp"
#include "ivl/parallel/shard.hpp"

#ifdef IVL_CONTROL
inline constexpr int kv_heads = 2;
#else
inline constexpr int kv_heads = 1;
#endif

inline constexpr ivl::VlmConfig whole{
    .vit = {.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 96},
    .projector = {},
    .decoder = {
        .layers = 1, .hidden = 64, .attention = {.heads = 4, .kv_heads = kv_heads, .head_dim = 32}, .mlp_hidden = 96}};
ivl::DecoderBlock<ivl::shard(whole, 2).decoder> block;
