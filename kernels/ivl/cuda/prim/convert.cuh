// Storage scalars in device code: the conversions of core/scalar.hpp by hardware, bit for bit, and pairs in a register.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(unsigned(x.bits) << 16); }
__device__ inline float widen(half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

/// Rounds to nearest, ties to even.
template <class Scalar>
__device__ inline Scalar narrow(float x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    return x;
  } else {
    Scalar y;
    if constexpr (std::is_same_v<Scalar, bf16>) {
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    } else {
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    }
    return y;
  }
}

/// Two scalars as they lie in memory, `first` in the low half.
template <class Scalar>
__device__ inline std::uint32_t narrow_pair(float first, float second) {
  static_assert(std::is_same_v<Scalar, bf16> || std::is_same_v<Scalar, half>,
                "narrow_pair: Scalar must be bf16 or half");
  std::uint32_t pair;
  if constexpr (std::is_same_v<Scalar, bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  }
  return pair;
}

template <class Scalar>
__device__ inline float2 widen_pair(std::uint32_t pair) {
  return {widen(Scalar{std::uint16_t(pair)}), widen(Scalar{std::uint16_t(pair >> 16)})};
}

}  // namespace ivl::IVL_CUDA::prim
