// The language model's structure.
#pragma once
#include <cstdint>

#include "ivl/config/attention.hpp"

namespace ivl {

/// Names in comments are the keys of `llm_config` (GitHub format) or `text_config` (HF format).
struct DecoderConfig {
  int layers = 0;  ///< num_hidden_layers
  int hidden = 0;  ///< hidden_size
  AttentionConfig attention;
  int mlp_hidden = 0;  ///< intermediate_size

  bool operator==(const DecoderConfig&) const = default;
};

/// Counts an embedding and a separate head of `vocab_rows` rows each, as the checkpoints store them.
constexpr std::int64_t parameters(const DecoderConfig& c, std::int64_t vocab_rows) {
  const std::int64_t block = parameters(c.attention, c.hidden) + 3LL * c.hidden * c.mlp_hidden + 2 * c.hidden;
  return 2 * vocab_rows * c.hidden + c.layers * block + c.hidden;
}

/// Keys and values of one token in all layers.
constexpr std::int64_t kv_bytes_per_token(const DecoderConfig& c, int scalar_bytes = 2) {
  return 2LL * c.layers * c.attention.kv_width() * scalar_bytes;
}

template <DecoderConfig C>
constexpr bool checked() {
  static_assert(C.layers > 0 && C.hidden > 0 && C.mlp_hidden > 0, "DecoderConfig: every size must be set and positive");
  static_assert(MultipleOf<C.hidden, 16>, "DecoderConfig: hidden must be a multiple of 16, one tensor-core tile");
  static_assert(MultipleOf<C.mlp_hidden, 16>, "DecoderConfig: mlp_hidden must be a multiple of 16, one tensor-core tile");
  return checked<C.attention>();
}

}  // namespace ivl
