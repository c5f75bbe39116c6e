// Small questions about texts, errors' among them.
#pragma once
#include <string>
#include <string_view>

namespace ivl_test {

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/// What `action` says when it throws `Kind`, and "" when it throws nothing.
template <class Kind, class Action>
std::string what_of(const Action& action) {
  try {
    action();
  } catch (const Kind& error) {
    return error.what();
  }
  return "";
}

}  // namespace ivl_test
