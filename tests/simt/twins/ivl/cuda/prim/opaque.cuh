// The emulator's twin of kernels/ivl/cuda/prim/opaque.cuh.
#pragma once
#include <cuda_runtime.h>

namespace ivl::cuda::prim {

template <class T>
T* opaque(T* pointer) {
  return pointer;
}

}  // namespace ivl::cuda::prim
