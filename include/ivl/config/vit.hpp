// InternViT's structure.
#pragma once
#include <cstdint>

#include "ivl/config/rules.hpp"

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
  int ranks = 1;                         ///< that share the tower (parallel/shard.hpp); no config.json has it

  constexpr int head_dim() const { return hidden / heads; }
  /// What one rank has: heads, their width, and hidden values of the feed-forward.
  constexpr int rank_heads() const { return heads / ranks; }
  constexpr int rank_width() const { return hidden / ranks; }
  constexpr int rank_mlp_hidden() const { return mlp_hidden / ranks; }
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

/// Throws ConfigError with the first rule that `c` breaks; see config/rules.hpp.
constexpr void check_rules(const VitConfig& c) {
  require("VitConfig: every size must be set and positive",
          c.layers > 0 && c.hidden > 0 && c.heads > 0 && c.mlp_hidden > 0 && c.patch_px > 0 && c.tile_px > 0);
  require("VitConfig: hidden must split evenly over heads", is_multiple(c.hidden, c.heads));
  require("VitConfig: head_dim (hidden / heads) must be a multiple of 16, one tensor-core tile",
          is_multiple(c.head_dim(), 16));
  require("VitConfig: mlp_hidden must be a multiple of 16, one tensor-core tile", is_multiple(c.mlp_hidden, 16));
  require("VitConfig: tile_px must be a whole number of patches", is_multiple(c.tile_px, c.patch_px));
  require("VitConfig: ranks must be positive, 1 where nobody shares the tower", c.ranks > 0);
  require("VitConfig: heads must be a multiple of ranks, since each has whole heads", is_multiple(c.heads, c.ranks));
  require("VitConfig: mlp_hidden must be a multiple of 16 on each of the ranks, one tensor-core tile",
          is_multiple(c.mlp_hidden, 16 * c.ranks));
  require("VitConfig: a tower with qk_norm cannot be shared by ranks, since the norm is over all heads",
          c.ranks == 1 || !c.qk_norm);
}

/// `static_assert(checked<C>())` in a layer's body: a structure that breaks a rule does not compile.
template <VitConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
