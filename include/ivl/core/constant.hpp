// Small compile-time vocabulary.
#pragma once
#include <cstdint>

namespace ivl {

/// A width, row count or length that is known only at run time.
inline constexpr int dynamic = -1;

/// A type that carries a value: nvcc cannot take a struct value directly on a `__global__` template.
template <auto Value>
struct Constant {
  static constexpr auto value = Value;
};

template <int Value, int Unit>
concept MultipleOf = Unit > 0 && Value % Unit == 0;

constexpr std::int64_t ceil_div(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }
constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) { return ceil_div(value, unit) * unit; }

}  // namespace ivl
