// What the text of answers has to be: the fields `response_format`, and vLLM's `structured_outputs`.
#pragma once
#include <memory>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/openai/fields.hpp"
#include "ivl/text/constraint.hpp"

namespace ivl::openai {

/// Null for free text. `text` is that of the body: a schema's properties are written in the order in which they stand
/// there. Throws ApiError, also for what of a schema or an expression is not obeyed.
std::shared_ptr<const Constraint> read_constraint(const BodyFields& body, std::string_view text,
                                                  const std::shared_ptr<const TokenTrie>& tokens);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/response_format.ipp"
#endif
