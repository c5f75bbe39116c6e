// The attention of a decoder layer.
#pragma once
#include <cstdint>

#include "ivl/config/rules.hpp"

namespace ivl {

/// Which layers of a decoder have a window.
enum class WindowLayers : std::uint8_t { all, even, odd };

struct AttentionConfig {
  int heads = 0;           ///< num_attention_heads
  int kv_heads = 0;        ///< num_key_value_heads
  int head_dim = 0;        ///< head_dim; stored, since it is not hidden / heads in Qwen3
  bool qkv_bias = false;   ///< true in Qwen2.5 and GPT-OSS
  bool head_norm = false;  ///< RMSNorm of each head's q and k before the rotation: Qwen3's q_norm and k_norm
  bool out_bias = false;   ///< of the output projection: GPT-OSS
  bool sinks = false;      ///< a learned score of each head that takes part in the softmax and has no value: GPT-OSS
  int window = 0;          ///< sliding_window: tokens that a token sees, itself among them; 0: all
  WindowLayers window_layers = WindowLayers::all;  ///< layer_types: the layers with this window; the others see all

  constexpr int query_width() const { return heads * head_dim; }
  constexpr int kv_width() const { return kv_heads * head_dim; }
  constexpr int qkv_width() const { return query_width() + 2 * kv_width(); }
  constexpr int window_of(int layer) const {
    const bool even = layer % 2 == 0;
    return window_layers == WindowLayers::all || (window_layers == WindowLayers::even) == even ? window : 0;
  }
  bool operator==(const AttentionConfig&) const = default;
};

constexpr std::int64_t parameters(const AttentionConfig& c, std::int64_t hidden) {
  const std::int64_t qkv =
      hidden * c.qkv_width() + (c.qkv_bias ? c.qkv_width() : 0) + (c.head_norm ? 2 * c.head_dim : 0);
  return qkv + (c.sinks ? c.heads : 0) + c.query_width() * hidden + (c.out_bias ? hidden : 0);
}

constexpr void check_rules(const AttentionConfig& c) {
  require("AttentionConfig: every size must be set and positive", c.heads > 0 && c.kv_heads > 0 && c.head_dim > 0);
  require("AttentionConfig: heads must be a multiple of kv_heads, so that each group shares one",
          is_multiple(c.heads, c.kv_heads));
  require("AttentionConfig: head_dim must be a multiple of 16, one tensor-core tile", is_multiple(c.head_dim, 16));
  require("AttentionConfig: window must be 0 (none) or a positive number of tokens", c.window >= 0);
  require("AttentionConfig: window_layers must be left out where window is 0, since no layer has one",
          c.window > 0 || c.window_layers == WindowLayers::all);
}

template <AttentionConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
