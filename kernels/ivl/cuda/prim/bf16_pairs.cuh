// Arithmetic on two bf16 in a register, the first in the low half.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

/// Both products, rounded to nearest even; subnormal numbers are kept, whatever the compiler's flags.
__device__ inline std::uint32_t multiply_bf16_pairs(std::uint32_t a, std::uint32_t b) {
  // sm_80 has no product of its own; to add -0 changes nothing, not even the sign of a zero.
  std::uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000u));
  return product;
}

/// Both sums, likewise.
__device__ inline std::uint32_t add_bf16_pairs(std::uint32_t a, std::uint32_t b) {
  std::uint32_t sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));  // a times 1
  return sum;
}

}  // namespace ivl::IVL_CUDA::prim
