// The emulator's twin of kernels/ivl/cuda/prim/opaque.cuh.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

template <class T>
T* opaque(T* pointer) {
  return pointer;
}

}  // namespace ivl::IVL_CUDA::prim
