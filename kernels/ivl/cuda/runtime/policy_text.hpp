// Policies print themselves as they are written in a source: GemvPolicy{.rows = 8, .tiles = 1, ...}. A tuner's winner
// can be pasted.
//
// A policy has a static `name`, and each_field(visit) that calls visit(name, value) for every field in the order in
// which they are declared. A value is a number or another policy.
#pragma once
#include <concepts>
#include <ostream>
#include <string>
#include <type_traits>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

template <class Policy>
concept PrintablePolicy = requires {
  { Policy::name } -> std::convertible_to<const char*>;
};

template <PrintablePolicy Policy>
std::string text_of(const Policy& policy) {
  std::string fields;
  policy.each_field([&](const char* name, const auto& value) {
    fields += (fields.empty() ? "." : ", .") + std::string(name) + " = ";
    if constexpr (std::integral<std::remove_cvref_t<decltype(value)>>) {
      fields += std::to_string(value);
    } else {
      fields += text_of(value);
    }
  });
  return std::string(Policy::name) + "{" + fields + "}";
}

template <PrintablePolicy Policy>
std::ostream& operator<<(std::ostream& out, const Policy& policy) {
  return out << text_of(policy);
}

}  // namespace ivl::IVL_CUDA
