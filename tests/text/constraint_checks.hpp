// What tests of constraints share.
#pragma once
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../support/temporary_folder.hpp"
#include "ivl/text/constraint.hpp"
#include "json_tokens.hpp"

namespace json_tokens {
using Texts = std::vector<std::string>;

struct Small {
  ivl::Tokenizer tokenizer = json_tokens::tokenizer();
  std::shared_ptr<const ivl::TokenTrie> tokens = std::make_shared<const ivl::TokenTrie>(tokenizer);
};

inline const Small& small() {
  static const Small result;
  return result;
}

inline std::shared_ptr<const ivl::Constraint> regex(std::string_view pattern) {
  return ivl::Constraint::regex(small().tokens, pattern);
}
inline std::shared_ptr<const ivl::Constraint> schema(std::string_view text) {
  return ivl::Constraint::json_schema(small().tokens, text);
}

/// What `action` is refused with.
template <class Action>
std::string refused(const Action& action) {
  return ivl::test::error_of<ivl::RequestError>(action);
}

inline void check_texts(const ivl::Constraint& constraint, const Texts& taken, const Texts& not_taken) {
  for (const std::string& text : taken) {
    CAPTURE(text);
    CHECK(takes(constraint, text));
  }
  for (const std::string& text : not_taken) {
    CAPTURE(text);
    CHECK_FALSE(takes(constraint, text));
  }
}

}  // namespace json_tokens
