// Shared memory is declared through these names only, so that the emulator can poison it and watch its bounds.
#pragma once
#include <cuda_runtime.h>

#include <type_traits>

#include "ivl/cuda/tag.hpp"

/// IVL_SHARED(float[32], partial); declares a static object of the block.
#define IVL_SHARED(Type, name) __shared__ ::std::type_identity_t<Type> name

/// IVL_DYNAMIC_SHARED(memory); is an `unsigned char*` to what the launch asked for. 1024 bytes is the alignment of the
/// widest swizzle of tensor copies.
#define IVL_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

namespace ivl::IVL_CUDA {

/// Cuts dynamic shared memory into arrays. The host runs the same cuts without memory to learn the size:
///
///   struct Tiles { bf16 *a, *b; };
///   __host__ __device__ Tiles carve(SharedCarver& memory) { return {memory.take<bf16>(4096), memory.take<bf16>(2048)};
///   }
class SharedCarver {
 public:
  __host__ __device__ explicit SharedCarver(unsigned char* base = nullptr) : base_(base) {}

  template <class T>
  __host__ __device__ T* take(int count, int alignment = alignof(T) > 16 ? int(alignof(T)) : 16) {
    const int start = (bytes_ + alignment - 1) / alignment * alignment;
    bytes_ = start + count * int(sizeof(T));
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + start);
  }

  /// What the cuts so far need.
  __host__ __device__ int bytes() const { return bytes_; }

 private:
  unsigned char* base_;
  int bytes_ = 0;
};

}  // namespace ivl::IVL_CUDA
