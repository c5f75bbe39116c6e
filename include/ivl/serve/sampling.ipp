// The bodies of sampling.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "ivl/serve/sampling.hpp"

namespace ivl {

IVL_INLINE Sampling resolved(const SamplingOptions& options, const SamplingFacts& facts) {
  const bool sample = options.do_sample.value_or(options.temperature ? *options.temperature != 0 : facts.sample);
  const Sampling s{.temperature = sample ? options.temperature.value_or(facts.temperature) : 0,
                   .top_k = options.top_k.value_or(facts.top_k),
                   .top_p = options.top_p.value_or(facts.top_p),
                   .min_p = options.min_p.value_or(facts.min_p),
                   .repetition_penalty = options.repetition_penalty.value_or(facts.repetition_penalty),
                   .frequency_penalty = options.frequency_penalty.value_or(facts.frequency_penalty),
                   .presence_penalty = options.presence_penalty.value_or(facts.presence_penalty),
                   .seed = options.seed};
  if (!(s.temperature >= 0 && std::isfinite(s.temperature)))
    fail<RequestError>("temperature: expected 0 or more, found ", s.temperature);
  if (options.do_sample.value_or(false) && s.temperature == 0)
    fail<RequestError>("temperature: expected more than 0 with do_sample, found 0");
  if (s.top_k < 0) fail<RequestError>("top_k: expected 0 (all) or more, found ", s.top_k);
  if (!(s.top_p > 0 && s.top_p <= 1)) fail<RequestError>("top_p: expected more than 0, at most 1, found ", s.top_p);
  if (!(s.min_p >= 0 && s.min_p <= 1)) fail<RequestError>("min_p: expected 0 to 1, found ", s.min_p);
  if (!(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty)))
    fail<RequestError>("repetition_penalty: expected more than 0, found ", s.repetition_penalty);
  if (!std::isfinite(s.frequency_penalty))
    fail<RequestError>("frequency_penalty: expected a number, found ", s.frequency_penalty);
  if (!std::isfinite(s.presence_penalty))
    fail<RequestError>("presence_penalty: expected a number, found ", s.presence_penalty);
  return s;
}

namespace detail {

/// Number `index` of SplitMix64's series.
inline std::uint64_t random_bits(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

}  // namespace detail

IVL_INLINE double uniform(std::uint64_t seed, std::uint64_t index) {
  return double(detail::random_bits(seed, index) >> 11) * 0x1p-53;
}

// Not `seed + index`: a caller's next seed would give one of these answers again.
IVL_INLINE std::uint64_t seed_of_answer(std::uint64_t seed, int index) {
  return index == 0 ? seed : detail::random_bits(~seed, std::uint64_t(index));
}

IVL_INLINE Draw draw_of(const Sampling& s, std::uint64_t index, int ids, std::int32_t* uses) {
  return {.uniform = uniform(s.seed, index),
          .temperature = s.temperature,
          .top_k = s.top_k,
          .top_p = s.top_p,
          .min_p = s.min_p,
          .repetition_penalty = s.repetition_penalty,
          .frequency_penalty = s.frequency_penalty,
          .presence_penalty = s.presence_penalty,
          .ids = ids,
          .uses = uses};
}

IVL_INLINE TokenLogprobs logprobs_of(std::span<const float> logits, std::int32_t chosen, int most) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += double(std::exp(x - largest));
  const double log_sum = double(largest) + std::log(sum);
  const auto told = [&](std::int32_t id) {
    constexpr float none = -std::numeric_limits<float>::infinity();
    return TokenLogprob{id, std::size_t(id) < logits.size() ? float(double(logits[std::size_t(id)]) - log_sum) : none};
  };
  TokenLogprobs all{told(chosen), {}};
  std::vector<std::int32_t> top;  // no more than `most`
  const auto before = [&](std::int32_t a, std::int32_t b) { return logits[std::size_t(a)] > logits[std::size_t(b)]; };
  for (std::int32_t id = 0; id < std::int32_t(logits.size()) && most > 0; ++id) {
    if (int(top.size()) == most) {
      if (!before(id, top.back())) continue;
      top.pop_back();
    }
    top.insert(std::ranges::upper_bound(top, id, before), id);
  }
  for (const std::int32_t id : top) all.top.push_back(told(id));
  return all;
}

}  // namespace ivl
