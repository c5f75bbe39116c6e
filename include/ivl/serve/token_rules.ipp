// The bodies of token_rules.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/serve/token_rules.hpp"

namespace ivl {

namespace detail {

inline constexpr float forbidden = -std::numeric_limits<float>::infinity();

/// Infinite logits stay numbers: infinity - infinity would be none.
inline void add_bias(std::span<float> logits, std::int32_t id, float bias) {
  if (id < 0 || std::size_t(id) >= logits.size()) return;
  float& logit = logits[std::size_t(id)];
  logit = bias == forbidden ? forbidden : logit + bias;
}

inline bool ends_with(std::span<const std::int32_t> tokens, std::span<const std::int32_t> end) {
  return tokens.size() >= end.size() && std::ranges::equal(tokens.last(end.size()), end);
}

}  // namespace detail

IVL_INLINE void TokenRules::edit(std::span<const std::int32_t> tokens, int generated, std::span<float> logits) const {
  for (const auto& [ids, bias] : biases) {
    if (detail::ends_with(tokens, std::span(ids).first(ids.size() - 1))) detail::add_bias(logits, ids.back(), bias);
  }
  // A pass over the tokens, 10 us for 32 thousand of them, needs no index that would have to be kept.
  const auto size = std::size_t(no_repeat_ngram_size);
  for (std::size_t i = 0; size > 0 && i + size <= tokens.size(); ++i) {
    if (std::ranges::equal(tokens.subspan(i, size - 1), tokens.last(size - 1)))
      detail::add_bias(logits, tokens[i + size - 1], detail::forbidden);
  }
  if (generated >= min_new_tokens) return;
  for (const int id : stop_ids) detail::add_bias(logits, id, detail::forbidden);
}

namespace detail {

/// The word at the start of a text and behind a space, which mostly are other tokens.
inline void add_bad_word(const Tokenizer& tokenizer, std::string_view word,
                         std::vector<std::vector<std::int32_t>>& to) {
  word.remove_prefix(std::min(word.find_first_not_of(" \t\r\n"), word.size()));
  if (word.empty()) fail<RequestError>("bad_words: expected text, found an empty word");
  to.push_back(tokenizer.encode(word));
  to.push_back(tokenizer.encode(" " + std::string(word)));
}

inline int shortest_answer(const GenerationOptions& generation, const SamplingFacts& proposed, int prompt_tokens) {
  const bool own = generation.min_new_tokens || generation.min_length;
  const int tokens = own ? generation.min_new_tokens.value_or(0) : proposed.min_new_tokens;
  const int length = own ? generation.min_length.value_or(0) : proposed.min_length;
  if (tokens < 0) fail<RequestError>("min_new_tokens: expected 0 or more, found ", tokens);
  if (length < 0) fail<RequestError>("min_length: expected 0 or more, found ", length);
  return tokens > 0 || generation.min_new_tokens ? tokens : std::max(0, length - prompt_tokens);
}

}  // namespace detail

IVL_INLINE TokenRules token_rules(const GenerationOptions& generation, const ModelFacts& facts,
                                  const Tokenizer* tokenizer, int ids, std::span<const int> stop_ids, int prompt_tokens,
                                  int longest) {
  const SamplingFacts& proposed = facts.sampling;
  TokenRules rules{.no_repeat_ngram_size = generation.no_repeat_ngram_size.value_or(proposed.no_repeat_ngram_size),
                   .min_new_tokens = detail::shortest_answer(generation, proposed, prompt_tokens),
                   .stop_ids = {stop_ids.begin(), stop_ids.end()}};
  if (rules.no_repeat_ngram_size < 0)
    fail<RequestError>("no_repeat_ngram_size: expected 0 (none) or more, found ", rules.no_repeat_ngram_size);
  if (rules.min_new_tokens > longest)
    fail<RequestError>("min_new_tokens: expected at most ", longest, ", the longest answer, found ",
                       rules.min_new_tokens);
  std::map<std::vector<std::int32_t>, float> biases;  // as transformers' dictionary: the last of equals counts
  const auto add = [&](const char* name, const std::vector<std::int32_t>& sequence, float bias) {
    if (sequence.empty()) fail<RequestError>(name, ": expected at least one token, found none");
    for (const std::int32_t id : sequence) {
      if (id < 0 || id >= ids)
        fail<RequestError>(name, ": token ", id, " is not one of the ", ids, " that may be drawn");
    }
    if (!std::isfinite(bias) && bias != detail::forbidden)
      fail<RequestError>(name, ": expected a number or -infinity, found ", bias);
    biases[sequence] = bias;
  };
  for (const auto& [sequence, bias] :
       generation.sequence_bias.empty() ? proposed.sequence_bias : generation.sequence_bias)
    add("sequence_bias", sequence, bias);
  std::vector<std::vector<std::int32_t>> words =
      generation.bad_words_ids.empty() ? proposed.bad_words_ids : generation.bad_words_ids;
  if (!generation.bad_words.empty() && tokenizer == nullptr)
    fail<RequestError>("bad_words: expected a tokenizer to make tokens of them with, found none");
  for (const std::string& word : generation.bad_words) detail::add_bad_word(*tokenizer, word, words);
  for (const auto& word : words) {
    const bool stops = word.size() == 1 && std::ranges::find(stop_ids, word[0]) != stop_ids.end();
    if (!stops) add("bad_words_ids", word, detail::forbidden);
  }
  for (auto& [sequence, bias] : biases) rules.biases.push_back({sequence, bias});
  return rules;
}

}  // namespace ivl
