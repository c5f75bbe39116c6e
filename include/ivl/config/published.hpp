// The published checkpoints by name, with what their types leave to the files.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/config/checkpoints.hpp"
#include "ivl/facts/family.hpp"

namespace ivl {

struct PublishedCheckpoint {
  std::string_view type;  ///< in checkpoints.hpp
  std::string_view name;  ///< as published, in the GitHub format
  VlmConfig config;
  Family family;
  int vocab_rows;  ///< rows of embedding and head
};

inline constexpr PublishedCheckpoint published_checkpoints[] = {
    {"internvl3_1b", "InternVL3-1B", internvl3_1b, Family::qwen2, 151674},
    {"internvl3_2b", "InternVL3-2B", internvl3_2b, Family::qwen2, 151674},
    {"internvl3_8b", "InternVL3-8B", internvl3_8b, Family::qwen2, 151674},
    {"internvl3_9b", "InternVL3-9B", internvl3_9b, Family::internlm3, 128512},
    {"internvl3_14b", "InternVL3-14B", internvl3_14b, Family::qwen2, 151674},
    {"internvl3_38b", "InternVL3-38B", internvl3_38b, Family::qwen2, 151674},
    {"internvl3_78b", "InternVL3-78B", internvl3_78b, Family::qwen2, 151674},
    {"internvl3_5_1b", "InternVL3_5-1B", internvl3_5_1b, Family::qwen3, 151936},
    {"internvl3_5_2b", "InternVL3_5-2B", internvl3_5_2b, Family::qwen3, 151936},
    {"internvl3_5_4b", "InternVL3_5-4B", internvl3_5_4b, Family::qwen3, 151936},
    {"internvl3_5_8b", "InternVL3_5-8B", internvl3_5_8b, Family::qwen3, 151936},
    {"internvl3_5_14b", "InternVL3_5-14B", internvl3_5_14b, Family::qwen3, 151936},
    {"internvl3_5_38b", "InternVL3_5-38B", internvl3_5_38b, Family::qwen3, 151936},
    {"internvl3_5_gpt_oss_20b_a4b", "InternVL3_5-GPT-OSS-20B-A4B-Preview", internvl3_5_gpt_oss_20b_a4b, Family::gpt_oss,
     201088},
    {"internvl3_5_30b_a3b", "InternVL3_5-30B-A3B", internvl3_5_30b_a3b, Family::qwen3_moe, 151936},
    {"internvl3_5_241b_a28b", "InternVL3_5-241B-A28B", internvl3_5_241b_a28b, Family::qwen3_moe, 151936},
};

/// Parameters of the matrices of all experts, which files may hold as MXFP4.
constexpr std::int64_t expert_parameters(const DecoderConfig& c) {
  return 3LL * c.layers * c.moe.experts * c.hidden * c.moe.mlp_hidden;
}

/// Parameters that a token of text meets: of the experts only those that it goes to, of the embedding one row.
constexpr std::int64_t active_parameters(const VlmConfig& c, std::int64_t vocab_rows) {
  const DecoderConfig& d = c.decoder;
  const std::int64_t idle = d.sparse() ? expert_parameters(d) / d.moe.experts * (d.moe.experts - d.moe.active) : 0;
  return parameters(d, vocab_rows) - idle - (vocab_rows - 1) * d.hidden;
}

/// Bytes of all weights: `scalar_bytes` each, or the experts in MXFP4 (32 codes of 4 bits share a byte of scale).
constexpr std::int64_t weight_bytes(const VlmConfig& c, std::int64_t vocab_rows, int scalar_bytes = 2) {
  return parameters(c, vocab_rows) * scalar_bytes;
}
constexpr std::int64_t weight_bytes_mxfp4(const VlmConfig& c, std::int64_t vocab_rows) {
  const std::int64_t experts = expert_parameters(c.decoder);
  return (parameters(c, vocab_rows) - experts) * 2 + experts / 2 + experts / 32;
}

}  // namespace ivl
