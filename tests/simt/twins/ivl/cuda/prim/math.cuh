// The emulator's twin of kernels/ivl/cuda/prim/math.cuh: exact to a float's rounding, so a kernel that leans on the
// hardware's error only shows it there. Subnormal results are zero, as there.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <limits>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

inline float flush_subnormal(float x) {
  return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

inline float exp2_approx(float x) { return flush_subnormal(std::exp2(flush_subnormal(x))); }
inline float tanh_approx(float x) { return std::tanh(x); }
inline float reciprocal_approx(float x) { return flush_subnormal(1 / flush_subnormal(x)); }
inline float rsqrt_approx(float x) { return 1 / std::sqrt(flush_subnormal(x)); }

}  // namespace ivl::IVL_CUDA::prim
