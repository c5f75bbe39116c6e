// The bodies of sampling.hpp.
#pragma once
#include <cmath>

#include "ivl/serve/sampling.hpp"

namespace ivl {

IVL_INLINE Sampling resolved(const SamplingOptions& options, const SamplingFacts& facts) {
  const Sampling s{.temperature = options.temperature.value_or(facts.sample ? facts.temperature : 0),
                   .top_k = options.top_k.value_or(facts.top_k),
                   .top_p = options.top_p.value_or(facts.top_p),
                   .min_p = options.min_p.value_or(facts.min_p),
                   .repetition_penalty = options.repetition_penalty.value_or(facts.repetition_penalty),
                   .seed = options.seed};
  if (!(s.temperature >= 0 && std::isfinite(s.temperature)))
    fail<RequestError>("temperature: expected 0 or more, found ", s.temperature);
  if (s.top_k < 0) fail<RequestError>("top_k: expected 0 (all) or more, found ", s.top_k);
  if (!(s.top_p > 0 && s.top_p <= 1)) fail<RequestError>("top_p: expected more than 0, at most 1, found ", s.top_p);
  if (!(s.min_p >= 0 && s.min_p <= 1)) fail<RequestError>("min_p: expected 0 to 1, found ", s.min_p);
  if (!(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty)))
    fail<RequestError>("repetition_penalty: expected more than 0, found ", s.repetition_penalty);
  return s;
}

IVL_INLINE double uniform(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return double((z ^ z >> 31) >> 11) * 0x1p-53;
}

IVL_INLINE Draw draw_of(const Sampling& s, std::uint64_t index, int ids, std::uint8_t* seen) {
  return {.uniform = uniform(s.seed, index),
          .temperature = s.temperature,
          .top_k = s.top_k,
          .top_p = s.top_p,
          .min_p = s.min_p,
          .repetition_penalty = s.repetition_penalty,
          .ids = ids,
          .seen = seen};
}

}  // namespace ivl
