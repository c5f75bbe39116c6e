// Which tokens a request forbids or favours, in its logits, before anything is drawn from them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// Where transformers' SequenceBias, NoRepeatNGram, NoBadWords and MinNewTokensLength processors stand: before the
/// penalties. (There the penalties come between the first and the others, which makes no difference: what is forbidden
/// stays so.)
struct TokenRules {
  std::vector<SequenceBias> biases = {};  ///< bad words among them
  int no_repeat_ngram_size = 0;           ///< 0: none
  int min_new_tokens = 0;
  std::vector<int> stop_ids = {};  ///< forbidden until there are min_new_tokens

  /// Whether they say anything about the token behind `generated` tokens of an answer.
  bool apply_to(int generated) const {
    return !biases.empty() || no_repeat_ngram_size > 0 || (generated < min_new_tokens && !stop_ids.empty());
  }

  /// Edits the logits [vocab_rows] of the token behind `tokens`, those that count of a sequence; its answer has
  /// `generated` so far. Ids from `logits.size()` on, and negative ones, which stand for rows of pictures, are
  /// nobody's. Allocates nothing.
  void edit(std::span<const std::int32_t> tokens, int generated, std::span<float> logits) const;
};

/// The rules of a request: its own, else what the checkpoint proposes. `ids` may be drawn, `stop_ids` end the answer,
/// which has `longest` tokens at most. Throws RequestError for what means nothing, or cannot be.
TokenRules token_rules(const GenerationOptions& generation, const ModelFacts& facts, const Tokenizer* tokenizer,
                       int ids, std::span<const int> stop_ids, int prompt_tokens, int longest);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/token_rules.ipp"
#endif
