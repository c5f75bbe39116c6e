// expect: no matching function
// qkv holds queries, keys and values of the shape.
#include "ivl/cpu/attention.hpp"

#ifdef IVL_CONTROL
inline constexpr int width = (4 + 2 * 2) * 16;
#else
inline constexpr int width = 3 * 4 * 16;  // as if every head had keys of its own
#endif

inline constexpr ivl::AttentionShape shape{.heads = 4, .kv_heads = 2, .head_dim = 16};

void attend(ivl::cpu::Context& ctx, ivl::Rows<float, width> qkv, const ivl::Batch& batch, const ivl::KvView& kv,
            ivl::Rows<float, 64> y) {
  ivl::attention<shape>(ctx, ivl::Mask::causal, qkv, batch, kv, y);
}
