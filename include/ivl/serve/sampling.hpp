// How tokens are chosen: what a caller may ask for, and what that means for one token.
#pragma once
#include <cmath>
#include <cstdint>

#include "ivl/core/error.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

/// Defaults are greedy. Order: repetition penalty, temperature, top-k, top-p, min-p; in full at Draw in ops/sample.hpp.
struct SamplingOptions {
  float temperature = 0;         ///< 0: the largest logit
  int top_k = 0;                 ///< 0: all
  float top_p = 1;               ///< smallest set of most probable tokens that holds this much
  float min_p = 0;               ///< relative to the most probable token
  float repetition_penalty = 1;  ///< > 1 makes tokens that the sequence already holds, prompt included, less likely
  std::uint64_t seed = 0;
};

/// Throws RequestError for values that mean nothing.
inline void check(const SamplingOptions& o) {
  if (!(o.temperature >= 0 && std::isfinite(o.temperature)))
    fail<RequestError>("temperature: expected 0 or more, found ", o.temperature);
  if (o.top_k < 0) fail<RequestError>("top_k: expected 0 (all) or more, found ", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail<RequestError>("top_p: expected more than 0, at most 1, found ", o.top_p);
  if (!(o.min_p >= 0 && o.min_p <= 1)) fail<RequestError>("min_p: expected 0 to 1, found ", o.min_p);
  if (!(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty)))
    fail<RequestError>("repetition_penalty: expected more than 0, found ", o.repetition_penalty);
}

/// Whether each token is the one with the largest logit.
inline bool is_greedy(const SamplingOptions& o) { return o.temperature == 0 && o.repetition_penalty == 1; }

/// Number `index` of a seed's series, in [0, 1): SplitMix64, the same on every machine; 53 bits.
inline double uniform(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return double((z ^ z >> 31) >> 11) * 0x1p-53;
}

/// What token number `index` of an answer is drawn with, of the ids below `ids`. See Draw for `seen`.
inline Draw draw_of(const SamplingOptions& o, std::uint64_t index, int ids, std::uint8_t* seen) {
  return {.uniform = uniform(o.seed, index),
          .temperature = o.temperature,
          .top_k = o.top_k,
          .top_p = o.top_p,
          .min_p = o.min_p,
          .repetition_penalty = o.repetition_penalty,
          .ids = ids,
          .seen = seen};
}

}  // namespace ivl
