// The emulator's twin of kernels/ivl/cuda/prim/convert.cuh.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

inline float widen(float x) { return x; }
inline float widen(bf16 x) { return to_float(x); }
inline float widen(half x) { return to_float(x); }

template <class Scalar>
Scalar narrow(float x) {
  return round_to<Scalar>(x);
}

template <class Scalar>
std::uint32_t narrow_pair(float first, float second) {
  static_assert(std::is_same_v<Scalar, bf16> || std::is_same_v<Scalar, half>,
                "narrow_pair: Scalar must be bf16 or half");
  return std::uint32_t(round_to<Scalar>(first).bits) | std::uint32_t(round_to<Scalar>(second).bits) << 16;
}

template <class Scalar>
float2 widen_pair(std::uint32_t pair) {
  return {widen(Scalar{std::uint16_t(pair)}), widen(Scalar{std::uint16_t(pair >> 16)})};
}

}  // namespace ivl::IVL_CUDA::prim
