// Rules of structures: each is one sentence and one condition, whether the structure is a type or was read from a file.
#pragma once
#include "ivl/core/error.hpp"

namespace ivl {

/// Throws ConfigError with the sentence where the rule is broken. In a constant expression nothing can be thrown, and
/// the compiler prints the sentence: g++ and clang with the call's arguments, nvcc with the line of the call. So the
/// sentence comes first, where it stays on that line. It has a subject, the rule and the reason, and no quotes: g++
/// escapes them.
constexpr void require(const char* sentence, bool holds) {
  if (!holds) throw ConfigError(sentence);
}

constexpr bool is_multiple(int value, int unit) { return unit > 0 && value % unit == 0; }

}  // namespace ivl
