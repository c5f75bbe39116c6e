// The emulator's twin of kernels/ivl/cuda/prim/bf16_pairs.cuh.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

inline std::uint32_t multiply_bf16_pairs(std::uint32_t a, std::uint32_t b) {
  // A product of two bf16 is a float, but for subnormal ones, which are rounded twice.
  const auto product = [=](int half) {
    const float x = to_float(bf16{std::uint16_t(a >> 16 * half)}), y = to_float(bf16{std::uint16_t(b >> 16 * half)});
    return std::uint32_t(round_to<bf16>(x * y).bits) << 16 * half;
  };
  return product(0) | product(1);
}

inline std::uint32_t add_bf16_pairs(std::uint32_t a, std::uint32_t b) {
  // Rounded to float first, which changes the result only where the smaller number is below 2^-16 of the larger one and
  // that is a tie: kernels add whole numbers up to 256.
  const auto sum = [=](int half) {
    const float x = to_float(bf16{std::uint16_t(a >> 16 * half)}), y = to_float(bf16{std::uint16_t(b >> 16 * half)});
    return std::uint32_t(round_to<bf16>(x + y).bits) << 16 * half;
  };
  return sum(0) | sum(1);
}

}  // namespace ivl::IVL_CUDA::prim
