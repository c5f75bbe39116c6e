// Many prompts at once, and a sampler of one's own: each function is all that one writes for it. ask_many.cpp asks the
// same question about several pictures; tests/serve/ask_many_test.cpp compares with one prompt alone.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "ivl/serve/engine.hpp"

namespace ask_many {

/// Answers to prompts, with pictures or without. As many run together as the engine has room for; the others wait.
inline std::vector<std::shared_ptr<ivl::Sequence>> answers(ivl::Engine& engine, std::vector<ivl::Prompt> prompts,
                                                           const ivl::GenerationOptions& generation = {},
                                                           const ivl::Tokenizer* tokenizer = nullptr) {
  std::vector<ivl::Request> requests;
  for (ivl::Prompt& prompt : prompts)
    requests.push_back({.prompt = std::move(prompt), .generation = generation, .tokenizer = tokenizer});
  return ivl::run_all(engine, std::move(requests));
}

/// A sampler of one's own: noise of Gumbel's distribution turns the largest logit into a draw from the softmax. 0: the
/// most probable token.
inline ivl::GenerationOptions gumbel(float temperature, std::uint32_t seed) {
  return {.choose = [temperature, random = std::mt19937(seed)](std::span<const float> logits) mutable {
    std::extreme_value_distribution<float> noise;
    std::vector<float> scores(logits.begin(), logits.end());
    for (float& score : scores) score += temperature * noise(random);
    return int(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }};
}

/// A mask of one's own: tokens that an answer shall not hold.
inline ivl::GenerationOptions without(std::vector<int> forbidden) {
  return {.mask = [forbidden = std::move(forbidden)](std::span<float> logits) {
    for (const int id : forbidden) logits[std::size_t(id)] = -std::numeric_limits<float>::infinity();
  }};
}

}  // namespace ask_many
