// The order in which sums are taken.
#pragma once
#include <cstdint>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

enum class Order : std::uint8_t {
  invariant,  ///< a row's bits do not depend on how many rows are beside it: what ops/linear.hpp promises
  fastest,    ///< a row may differ in its last bit from the same row among more than 16, and few rows are faster
};

constexpr const char* name_of(Order order) { return order == Order::invariant ? "invariant" : "fastest"; }

}  // namespace ivl::IVL_CUDA
