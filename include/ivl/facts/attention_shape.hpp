// Sizes of one attention layer, as kernels see them.
#pragma once

namespace ivl {

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int window = 0;  ///< under Mask::causal a row at position p sees keys p - window + 1 ... p; 0: all up to p

  constexpr int group() const { return heads / kv_heads; }
  constexpr int query_width() const { return heads * head_dim; }
  constexpr int kv_width() const { return kv_heads * head_dim; }
  constexpr int qkv_width() const { return query_width() + 2 * kv_width(); }
  bool operator==(const AttentionShape&) const = default;
};

}  // namespace ivl
