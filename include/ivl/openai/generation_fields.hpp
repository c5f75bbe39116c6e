// The fields about how an answer is generated, which chats and completions share.
#pragma once
#include "ivl/core/compiled.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/openai/fields.hpp"
#include "ivl/serve/options.hpp"

namespace ivl::openai {

/// Sampling, penalties, biases, stops, bad words, `min_tokens`, `ignore_eos` and `skip_special_tokens`, each within its
/// bounds. What is absent follows the checkpoint, but for the seed, which is then a random one. `stop_ids` end answers
/// of themselves. Throws ApiError.
GenerationOptions read_generation(const BodyFields& body, const ModelFacts& facts, const std::vector<int>& stop_ids);

/// Throws ApiError for fields that other servers know and this one does not serve, where they ask for anything.
void refuse_unsupported_fields(const BodyFields& body);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/generation_fields.ipp"
#endif
