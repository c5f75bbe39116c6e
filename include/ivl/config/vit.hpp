// InternViT's structure.
#pragma once
#include <cstdint>

#include "ivl/core/constant.hpp"

namespace ivl {

enum class NormKind : std::uint8_t { layer_norm, rms_norm };

/// Names in comments are the keys of `vision_config` in config.json.
struct VitConfig {
  int layers = 0;                        ///< num_hidden_layers
  int hidden = 0;                        ///< hidden_size
  int heads = 0;                         ///< num_attention_heads
  int mlp_hidden = 0;                    ///< intermediate_size
  int patch_px = 14;                     ///< patch_size
  int tile_px = 448;                     ///< image_size
  NormKind norm = NormKind::layer_norm;  ///< norm_type
  bool qkv_bias = true;                  ///< qkv_bias, attention_bias
  bool qk_norm = false;                  ///< qk_normalization, use_qk_norm: RMSNorm over all of q and all of k

  constexpr int head_dim() const { return hidden / heads; }
  constexpr int side() const { return tile_px / patch_px; }
  constexpr int patches() const { return side() * side(); }
  constexpr int tokens() const { return 1 + patches(); }  ///< the class token, then the patches
  constexpr int patch_width() const { return 3 * patch_px * patch_px; }
  bool operator==(const VitConfig&) const = default;
};

constexpr std::int64_t parameters(const VitConfig& c) {
  const std::int64_t d = c.hidden, m = c.mlp_hidden, norm = c.norm == NormKind::layer_norm ? 2 * d : d;
  const std::int64_t attention = 3 * d * d + (c.qkv_bias ? 3 * d : 0) + (c.qk_norm ? 2 * d : 0) + d * d + d;
  const std::int64_t block = attention + 2 * norm + 2 * d + (m * d + m) + (d * m + d);
  return d + (d * c.patch_width() + d) + c.tokens() * d + c.layers * block;
}

template <VitConfig C>
constexpr bool checked() {
  static_assert(C.layers > 0 && C.hidden > 0 && C.heads > 0 && C.mlp_hidden > 0 && C.patch_px > 0 && C.tile_px > 0,
                "VitConfig: every size must be set and positive");
  static_assert(MultipleOf<C.hidden, C.heads>, "VitConfig: hidden must split evenly over heads");
  static_assert(MultipleOf<C.head_dim(), 16>,
                "VitConfig: head_dim (hidden / heads) must be a multiple of 16, one tensor-core tile");
  static_assert(MultipleOf<C.mlp_hidden, 16>, "VitConfig: mlp_hidden must be a multiple of 16, one tensor-core tile");
  static_assert(MultipleOf<C.tile_px, C.patch_px>, "VitConfig: tile_px must be a whole number of patches");
  return true;
}

}  // namespace ivl
