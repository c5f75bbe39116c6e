// cp.async: copies from device to shared memory that no register sees (sm_80).
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

/// Copies `source_bytes` (0 to Bytes) and fills the rest of `Bytes` with zeros; at 0 `global` is not read, but must be
/// an aligned address. Bytes is 4, 8 or 16, and both addresses are multiples of it. 16 bytes pass by the first cache.
template <int Bytes>
__device__ inline void cp_async(void* shared, const void* global, int source_bytes = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp_async: Bytes must be 4, 8 or 16");
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(source_bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(Bytes), "r"(source_bytes)
                 : "memory");
  }
}

/// Makes the thread's copies since the last commit one group.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until all but the thread's last `GroupsLeft` groups are there. Other threads need a barrier after it.
template <int GroupsLeft>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
}

/// Waits for all of the thread's copies, committed or not.
__device__ inline void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace ivl::IVL_CUDA::prim
