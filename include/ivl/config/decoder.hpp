// The language model's structure.
#pragma once
#include <cstdint>

#include "ivl/config/attention.hpp"
#include "ivl/config/moe.hpp"

namespace ivl {

/// Names in comments are the keys of `llm_config` (GitHub format) or `text_config` (HF format).
struct DecoderConfig {
  int layers = 0;  ///< num_hidden_layers
  int hidden = 0;  ///< hidden_size
  AttentionConfig attention;
  int mlp_hidden = 0;  ///< intermediate_size; 0: the layers are mixtures of experts
  MoeConfig moe{};     ///< of every layer, or of none
  int ranks = 1;       ///< that share the model (parallel/shard.hpp); all other sizes are those of the whole

  constexpr bool sparse() const { return moe.experts > 0; }
  /// What one rank has.
  constexpr int rank_heads() const { return attention.heads / ranks; }
  constexpr int rank_kv_heads() const { return attention.kv_heads / ranks; }
  constexpr int rank_mlp_hidden() const { return mlp_hidden / ranks; }
  /// Layers that have a window.
  constexpr int windows() const {
    int number = 0;
    for (int layer = 0; layer < layers; ++layer) number += attention.window_of(layer) > 0 ? 1 : 0;
    return number;
  }
  bool operator==(const DecoderConfig&) const = default;
};

/// Counts an embedding and a separate head of `vocab_rows` rows each, as the checkpoints store them.
constexpr std::int64_t parameters(const DecoderConfig& c, std::int64_t vocab_rows) {
  const std::int64_t mlp = c.sparse() ? parameters(c.moe, c.hidden) : 3LL * c.hidden * c.mlp_hidden;
  const std::int64_t block = parameters(c.attention, c.hidden) + mlp + 2 * c.hidden;
  return 2 * vocab_rows * c.hidden + c.layers * block + c.hidden;
}

/// What one more token costs: its keys and values in all layers that keep every token. Layers with a window keep a
/// number of tokens that does not grow.
constexpr std::int64_t kv_bytes_per_token(const DecoderConfig& c, int scalar_bytes = 2) {
  return 2LL * (c.layers - c.windows()) * c.attention.kv_width() * scalar_bytes;
}

constexpr void check_rules(const DecoderConfig& c) {
  require("DecoderConfig: every size must be set and positive", c.layers > 0 && c.hidden > 0 && c.mlp_hidden >= 0);
  require("DecoderConfig: hidden must be a multiple of 16, one tensor-core tile", is_multiple(c.hidden, 16));
  require("DecoderConfig: exactly one of mlp_hidden (dense layers) and moe (mixtures of experts) must be set",
          (c.mlp_hidden != 0) != (c.moe != MoeConfig{}));
  if (c.moe == MoeConfig{}) {
    require("DecoderConfig: mlp_hidden must be a multiple of 16, one tensor-core tile", is_multiple(c.mlp_hidden, 16));
  } else {
    check_rules(c.moe);
    require("DecoderConfig: hidden must be a multiple of 32 where there are experts, one block of MXFP4",
            is_multiple(c.hidden, 32));
  }
  check_rules(c.attention);
  require("DecoderConfig: ranks must be positive, 1 where nobody shares the model", c.ranks > 0);
  require("DecoderConfig: heads and kv_heads must be multiples of ranks, since each has whole heads and their keys",
          is_multiple(c.attention.heads, c.ranks) && is_multiple(c.attention.kv_heads, c.ranks));
  require("DecoderConfig: mlp_hidden must be a multiple of 16 on each of the ranks, one tensor-core tile",
          c.sparse() || is_multiple(c.mlp_hidden, 16 * c.ranks));
  require("DecoderConfig: experts must be a multiple of ranks, since each has whole experts",
          is_multiple(c.moe.experts, c.ranks));
}

template <DecoderConfig C>
constexpr bool checked() {
  check_rules(C);
  return true;
}

}  // namespace ivl
