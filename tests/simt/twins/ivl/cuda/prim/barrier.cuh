// The emulator's twin of kernels/ivl/cuda/prim/barrier.cuh.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

inline void named_barrier_sync(int id, int threads, simt::Site at = simt::Site::current()) {
  simt::named_barrier(id, threads, simt::Arrival::wait, at);
}

inline void named_barrier_arrive(int id, int threads, simt::Site at = simt::Site::current()) {
  simt::named_barrier(id, threads, simt::Arrival::go_on, at);
}

inline void grid_sync(simt::Site at = simt::Site::current()) { simt::grid_barrier(at); }

}  // namespace ivl::IVL_CUDA::prim
