// Sums and maxima over a warp or a block, in an order that depends on the number of threads only.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

inline constexpr unsigned whole_warp = 0xffffffffu;

/// All lanes get `combine` of all lanes' values, the same bits.
template <class T, class Combine>
__device__ inline T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(whole_warp, value, distance));
  return value;
}

template <class T>
__device__ inline T warp_sum(T value) {
  return warp_reduce(value, [](T a, T b) { return a + b; });
}

__device__ inline float warp_max(float value) {
  return warp_reduce(value, [](float a, float b) { return fmaxf(a, b); });
}

/// All lanes of a warp get the sum of the sums of up to 32 warps.
__device__ inline float sum_of_warps(const float* sums, int warps) {
  const int lane = int(threadIdx.x) % 32;
  return warp_sum(lane < warps ? sums[lane] : 0.0f);
}

/// All threads of a one-dimensional block of whole warps get the sum of their values. `partial` is shared
/// memory that no earlier reduction of the kernel used without a barrier in between.
__device__ inline float block_sum(float value, float (&partial)[32]) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, warps = int(blockDim.x) / 32;
  value = warp_sum(value);
  if (warps == 1) return value;
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return sum_of_warps(partial, warps);
}

/// All threads get `combine` of all threads' values. `partial` is free again on return.
template <class T, class Combine>
__device__ inline T block_reduce(T value, T identity, T (&partial)[32], const Combine& combine) {
  const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, warps = int(blockDim.x) / 32;
  value = warp_reduce(value, combine);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = warp_reduce(lane < warps ? partial[lane] : identity, combine);
  __syncthreads();
  return value;
}

}  // namespace ivl::IVL_CUDA
