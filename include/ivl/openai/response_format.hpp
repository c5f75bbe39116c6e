// What the text of answers has to be: the fields `response_format`, and vLLM's `structured_outputs`.
#pragma once
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/openai/fields.hpp"
#include "ivl/text/constraint.hpp"

namespace ivl::openai {

/// The constraints that were asked for last: clients ask in one form many times, and what may follow in it is found as
/// it comes up. Any thread may call it.
class Constraints {
 public:
  explicit Constraints(std::shared_ptr<const TokenTrie> tokens) : tokens_(std::move(tokens)) {}

  /// The one of this kind and text, which is made if it is not there. Throws what `make` does.
  std::shared_ptr<const Constraint> find_or_make(
      std::string_view kind, std::string_view text,
      const std::function<std::shared_ptr<const Constraint>(std::shared_ptr<const TokenTrie>)>& make);

 private:
  static constexpr std::size_t most = 16;  // each may grow to 10 MB

  std::shared_ptr<const TokenTrie> tokens_;
  std::mutex mutex_;                                                                // of what follows
  std::list<std::pair<std::string, std::shared_ptr<const Constraint>>> last_used_;  // the last in front
};

/// Null for free text. `text` is that of the body: a schema's properties are written in the order in which they stand
/// there. Throws ApiError, also for what of a schema or an expression is not obeyed.
std::shared_ptr<const Constraint> read_constraint(const BodyFields& body, std::string_view text,
                                                  Constraints& constraints);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/response_format.ipp"
#endif
