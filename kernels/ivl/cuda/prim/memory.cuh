// Loads and stores of device memory with the caching that the caller knows to be right, and the accesses that order
// others.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

// Loads are volatile too, so that none moves up above a wait for the grid before (griddepcontrol).

/// 16 bytes that nothing writes during the kernel, and that others will read soon too.
__device__ inline uint4 load_read_only(const void* global) {
  uint4 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global));
  return v;
}

/// 16 bytes that nothing writes during the kernel, and that are read once: weights that stream by.
__device__ inline uint4 load_once(const void* global) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(global));
  return v;
}

/// 16 bytes that are not read again soon.
__device__ inline void store_once(void* global, uint4 v) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(global), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}

/// What other blocks wrote before their release is visible after this. Loops that wait must poll with it.
__device__ inline unsigned load_acquire(const unsigned* global) {
  unsigned v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(global) : "memory");
  return v;
}

__device__ inline void store_release(unsigned* global, unsigned v) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(global), "r"(v) : "memory");
}

/// Adds, and publishes what the thread wrote before.
__device__ inline void add_release(unsigned* global, unsigned v) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(global), "r"(v) : "memory");
}

/// Adds, publishes what the thread wrote before, and sees what others published when they added before; returns the old
/// value.
__device__ inline unsigned add_acquire_release(unsigned* global, unsigned v) {
  unsigned old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(global), "r"(v) : "memory");
  return old;
}

}  // namespace ivl::IVL_CUDA::prim
