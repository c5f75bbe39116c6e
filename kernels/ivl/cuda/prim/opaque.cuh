// What the compiler is not to see through.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

/// The same pointer, but the compiler no longer knows what it was made of. In a loop, addresses that are computed from
/// it become offsets of instructions; otherwise each of them may be kept in a register of its own from before the loop.
template <class T>
__device__ inline T* opaque(T* pointer) {
  asm volatile("" : "+l"(pointer));
  return pointer;
}

}  // namespace ivl::IVL_CUDA::prim
