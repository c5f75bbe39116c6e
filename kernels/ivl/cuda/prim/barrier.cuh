// Barriers beyond __syncthreads.
#pragma once
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

/// Waits until `threads` threads (whole warps) came to barrier `id`, 1 to 15, with sync or arrive.
__device__ inline void named_barrier_sync(int id, int threads) {
  asm volatile("barrier.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Comes to the barrier and goes on at once.
__device__ inline void named_barrier_arrive(int id, int threads) {
  asm volatile("barrier.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Waits for all threads of a grid that was launched as cooperative.
__device__ inline void grid_sync() { cooperative_groups::this_grid().sync(); }

}  // namespace ivl::IVL_CUDA::prim
