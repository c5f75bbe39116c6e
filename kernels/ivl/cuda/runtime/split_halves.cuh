// Half weights for products with bf16.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

/// A pair of halves as the sum of two pairs of bf16. Exact: 11 bits are 8 and, at most, the 3 that these lack; and the
/// exponents of bf16 reach further.
__device__ inline void split_halves(std::uint32_t halves, std::uint32_t& high, std::uint32_t& low) {
  const float2 wide = prim::widen_pair<half>(halves);
  high = prim::narrow_pair<bf16>(wide.x, wide.y);
  const float2 taken = prim::widen_pair<bf16>(high);
  low = prim::narrow_pair<bf16>(wide.x - taken.x, wide.y - taken.y);
}

}  // namespace ivl::IVL_CUDA
