// What a checkpoint's files may vary within one structure: data, read at load.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ivl/facts/family.hpp"
#include "ivl/facts/pixel_statistics.hpp"
#include "ivl/facts/rope.hpp"

namespace ivl {

/// The two layouts in which checkpoints are published.
enum class FolderFormat : std::uint8_t {
  github,  ///< `model_type: internvl_chat`
  hf,      ///< `model_type: internvl`
};

/// How pictures become tiles and numbers.
struct ImageFacts {
  int min_tiles = 1;      ///< min_dynamic_patch, min_patches
  int max_tiles = 12;     ///< max_dynamic_patch, max_patches; the thumbnail is not counted
  bool thumbnail = true;  ///< use_thumbnail; the HF format always has it
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
  std::array<float, 3> deviation{0.229f, 0.224f, 0.225f};
};

/// The statistics as ops take them.
inline PixelStatistics pixel_statistics(const ImageFacts& facts) {
  return {{facts.mean[0], facts.mean[1], facts.mean[2]}, {facts.deviation[0], facts.deviation[1], facts.deviation[2]}};
}

/// What is added to the logit of the last of `ids` where the others stand right before it; -infinity forbids it.
struct SequenceBias {
  std::vector<std::int32_t> ids;  ///< at least one
  float bias = 0;
};

/// What generation_config.json proposes; a caller's own options win.
struct SamplingFacts {
  bool sample = false;  ///< do_sample
  float temperature = 1;
  int top_k = 50;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  int max_new_tokens = 0;        ///< 0: no proposal
  int max_length = 0;            ///< of prompt and answer, where there is no max_new_tokens; 0: no proposal
  int min_new_tokens = 0;        ///< 0: no proposal
  int min_length = 0;            ///< of prompt and answer, where there is no min_new_tokens; 0: no proposal
  int no_repeat_ngram_size = 0;  ///< 0: none
  std::vector<std::vector<std::int32_t>> bad_words_ids = {};
  std::vector<SequenceBias> sequence_bias = {};
  std::vector<std::string> stop_strings = {};
};

struct ModelFacts {
  FolderFormat format = FolderFormat::hf;
  Family family = Family::qwen3;
  std::string prompt_template;  ///< config key `template`; empty in the HF format
  int vocab_rows = 0;           ///< rows of the embedding and of the head
  int context_length = 0;       ///< max_position_embeddings, times the factor of dynamic NTK
  RopeFacts rope;
  float vision_norm_eps = 1e-6f;
  float language_norm_eps = 1e-6f;
  bool tied_head = false;     ///< tie_word_embeddings; a stored head wins over it
  std::vector<int> stop_ids;  ///< eos_token_id of generation_config.json, else of config.json
  int image_token_id = -1;    ///< what the HF format says of <IMG_CONTEXT>; -1: nothing
  ImageFacts image;
  SamplingFacts sampling;
};

/// torch.nn.LayerNorm's default; no config key holds it.
inline constexpr float projector_norm_eps = 1e-5f;

}  // namespace ivl
