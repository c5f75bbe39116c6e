// Numbers between bounds, digit by digit.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/byte_grammar.hpp"

namespace ivl {

/// What an integer of 18 digits can be.
inline constexpr std::int64_t largest_json_integer = 999'999'999'999'999'999;

/// Whole bounds of a number. A bound of its own is one that the schema gives; only that may be exclusive.
struct JsonBounds {
  std::int64_t least = -largest_json_integer, most = largest_json_integer;
  bool above_least = false, below_most = false;  ///< the bound itself is excluded
};

/// Integers, as JSON writes them, with `-` but no `-0`.
void add_integers(ByteGrammar& grammar, int from, int to, JsonBounds bounds);

/// Numbers with a point or without, `fraction_digits` behind it at most, which may be zeros. `-0` and `-0.0` are 0.
void add_decimals(ByteGrammar& grammar, int from, int to, const JsonBounds& bounds, int fraction_digits);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/json_numbers.ipp"
#endif
