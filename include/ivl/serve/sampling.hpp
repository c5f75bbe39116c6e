// How tokens are chosen: what a caller may ask for, and what that means for one token.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

/// What is left unset follows the checkpoint's generation_config.json, which mostly says greedy. Order: penalties,
/// temperature, top-k, top-p, min-p; in full at Draw in ops/sample.hpp.
struct SamplingOptions {
  std::optional<bool> do_sample = {};            ///< unset: where `temperature` is given, whether it is above 0. False:
                                                 ///< the largest logit, whatever the temperature
  std::optional<float> temperature = {};         ///< 0: the largest logit
  std::optional<int> top_k = {};                 ///< 0: all
  std::optional<float> top_p = {};               ///< smallest set of most probable tokens that holds this much
  std::optional<float> min_p = {};               ///< relative to the most probable token
  std::optional<float> repetition_penalty = {};  ///< > 1 makes tokens that are there already less likely; whether in
                                                 ///< the prompt too, GenerationOptions::count_prompt says
  std::optional<float> frequency_penalty = {};   ///< > 0 makes tokens less likely each time that the answer holds them
  std::optional<float> presence_penalty = {};    ///< > 0 makes tokens that the answer holds less likely
  std::uint64_t seed = 0;
};

/// The same with nothing left open.
struct Sampling {
  float temperature = 0;
  int top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;
  std::uint64_t seed = 0;
};

/// Whether it matters which ids a sequence holds.
constexpr bool penalises(const Sampling& s) {
  return s.repetition_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0;
}

/// Throws RequestError for values that mean nothing.
Sampling resolved(const SamplingOptions& options, const SamplingFacts& facts);

/// Number `index` of a seed's series, in [0, 1): SplitMix64, the same on every machine; 53 bits.
double uniform(std::uint64_t seed, std::uint64_t index);

/// The seed of answer number `index` of several to one request. Answer 0 has the request's own seed, so it is the
/// answer that the request alone gets.
std::uint64_t seed_of_answer(std::uint64_t seed, int index);

/// What token number `index` of an answer is drawn with, of the ids below `ids`. See Draw for `uses`.
Draw draw_of(const Sampling& s, std::uint64_t index, int ids, std::int32_t* uses);

/// The natural logarithm of a token's probability: of softmax over the model's own logits, before penalties, rules and
/// temperature.
struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;
};
struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  ///< the most probable first, of equals the smaller id
};

/// Of a chosen token and the `most` most probable ones. A chosen id behind `logits`, a padding row of the head, has
/// probability 0: -infinity.
TokenLogprobs logprobs_of(std::span<const float> logits, std::int32_t chosen, int most);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/sampling.ipp"
#endif
