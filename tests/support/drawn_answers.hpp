// Answers that are drawn, pinned: a seed says the same tomorrow, on every backend and beside any others.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine_on.hpp"
#include "ivl/model/checkpoint.hpp"
#include "tiny_models.hpp"

namespace ivl_test {

struct DrawnAnswer {
  std::vector<std::int32_t> prompt;
  SamplingOptions sampling;
  std::vector<std::int32_t> ids;
  GenerationOptions rules = {};  ///< of which only those about tokens
};

/// By the model qwen3_tiny, in float. Seeds were chosen such that all along no random number is within 2e-4 of the edge
/// between two tokens, and neither top-p, min-p, the k-th logit nor the largest is as close to what it is set against:
/// backends, which add in other orders, differ by 1e-6 or so.
inline std::vector<DrawnAnswer> drawn_answers() {
  return {
      {{1, 2, 3}, {.temperature = 0.8f, .seed = 1}, {247, 237, 276, 167}},
      {{4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14},
       {.temperature = 1, .top_k = 20, .top_p = 0.9f, .min_p = 0.02f, .repetition_penalty = 1.3f, .seed = 2},
       {50, 78, 74, 259, 53}},
      {{15}, {}, {163, 40, 53, 105, 163, 142}},
      {{16, 17, 18, 19, 20}, {.repetition_penalty = 1.5f}, {78, 139, 60, 216, 36, 223, 64}},
      {{21, 22}, {.temperature = 2, .top_p = 0.95f, .seed = 1}, {118, 144, 129, 95, 267, 263, 126, 244}},
      {{23, 24, 25, 26},
       {.temperature = 0.5f, .top_k = 40, .repetition_penalty = 0.7f, .seed = 3},
       {142, 24, 208, 34, 69, 197, 69, 197, 197}},
      {{27, 28},
       {.temperature = 1, .top_k = 20, .frequency_penalty = 0.7f, .presence_penalty = 0.3f, .seed = 1},
       {177, 118, 177, 13, 186, 183, 229, 64}},
      {{15}, {.frequency_penalty = 3}, {163, 40, 53, 105, 228, 261, 73, 262}},
      {{32}, {}, {43, 10, 46, 261, 273, 6, 50, 208, 4}, {.no_repeat_ngram_size = 1}},
      // 70 behind a 30, but not a second time.
      {{30, 31, 30, 31},
       {.temperature = 0.8f, .top_p = 0.9f, .presence_penalty = 0.5f, .seed = 1},
       {167, 30, 70, 144, 106, 30, 19},
       {.no_repeat_ngram_size = 2, .bad_words_ids = {{40}, {31, 53}}, .sequence_bias = {{{30}, 5}, {{30, 70}, 9}}}},
  };
}

/// All of them in one engine, in which some end before others, and some are drawn from logits that come to the host.
template <class Context>
void check_drawn_answers(Context& ctx, const Checkpoint<qwen3_tiny>& checkpoint) {
  const std::vector<DrawnAnswer> answers = drawn_answers();
  RunnerAndEngine<qwen3_tiny, Context, float> on(
      ctx, checkpoint.vlm, {.kv_tokens = 512, .max_sequences = int(answers.size()), .max_rows = 16});
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (const DrawnAnswer& answer : answers) {
    GenerationOptions generation = answer.rules;
    generation.max_new_tokens = int(answer.ids.size());
    generation.sampling = answer.sampling;
    generation.ignore_stop_ids = true;
    if (!generation.sampling.top_k) generation.sampling.top_k = 0;
    sequences.push_back(on.engine.start(
        {.prompt = {answer.prompt}, .generation = generation, .tokenizer = &checkpoint.processor.tokenizer()}));
  }
  on.engine.run();
  for (std::size_t n = 0; n < answers.size(); ++n) {
    CAPTURE(n);
    CHECK(ids_of(*sequences[n]) == answers[n].ids);
  }
}

}  // namespace ivl_test
