// The emulator's twin of kernels/ivl/cuda/prim/async_copy.cuh.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

template <int Bytes>
void cp_async(void* shared, const void* global, int source_bytes = Bytes, simt::Site at = simt::Site::current()) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp_async: Bytes must be 4, 8 or 16");
  simt::copy_async(shared, global, Bytes, source_bytes, at);
}

inline void cp_async_commit(simt::Site at = simt::Site::current()) { simt::commit_copies(at); }

template <int GroupsLeft>
void cp_async_wait(simt::Site at = simt::Site::current()) {
  simt::wait_copies(GroupsLeft, at);
}

inline void cp_async_wait_all(simt::Site at = simt::Site::current()) { simt::wait_all_copies(at); }

}  // namespace ivl::IVL_CUDA::prim
