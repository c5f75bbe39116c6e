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

  constexpr bool sparse() const { return moe.experts > 0; }
  constexpr int window_layers() const { return attention.window > 0 ? (layers + 1) / 2 : 0; }
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
  return 2LL * (c.layers - c.window_layers()) * c.attention.kv_width() * scalar_bytes;
}

template <DecoderConfig C>
constexpr bool checked() {
  static_assert(C.layers > 0 && C.hidden > 0 && C.mlp_hidden >= 0,
                "DecoderConfig: every size must be set and positive");
  static_assert(MultipleOf<C.hidden, 16>, "DecoderConfig: hidden must be a multiple of 16, one tensor-core tile");
  static_assert((C.mlp_hidden != 0) != (C.moe != MoeConfig{}),
                "DecoderConfig: exactly one of mlp_hidden (dense layers) and moe (mixtures of experts) must be set");
  if constexpr (C.moe == MoeConfig{}) {
    static_assert(MultipleOf<C.mlp_hidden, 16>,
                  "DecoderConfig: mlp_hidden must be a multiple of 16, one tensor-core tile");
  } else {
    static_assert(checked<C.moe>());
    static_assert(MultipleOf<C.hidden, 32>,
                  "DecoderConfig: hidden must be a multiple of 32 where there are experts, one block of MXFP4");
  }
  return checked<C.attention>();
}

}  // namespace ivl
