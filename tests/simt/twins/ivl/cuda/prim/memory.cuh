// The emulator's twin of kernels/ivl/cuda/prim/memory.cuh. There are no caches here; polls let other threads run.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

inline uint4 load_read_only(const void* global, simt::Site at = simt::Site::current()) {
  simt::check_read_only(global, sizeof(uint4), at);
  return *static_cast<const uint4*>(global);
}
inline uint4 load_once(const void* global, simt::Site at = simt::Site::current()) { return load_read_only(global, at); }
inline void store_once(void* global, uint4 v) { *static_cast<uint4*>(global) = v; }

inline unsigned load_acquire(const unsigned* global, simt::Site at = simt::Site::current()) {
  return simt::load_acquire(global, at);
}
inline void store_release(unsigned* global, unsigned v, simt::Site at = simt::Site::current()) {
  simt::store_release(global, v, at);
}
inline void add_release(unsigned* global, unsigned v, simt::Site at = simt::Site::current()) {
  simt::add_release(global, v, at);
}
inline unsigned add_acquire_release(unsigned* global, unsigned v, simt::Site at = simt::Site::current()) {
  return simt::add_acquire_release(global, v, at);
}

}  // namespace ivl::IVL_CUDA::prim
