// The emulator's twin of kernels/ivl/cuda/runtime/shared_memory.cuh: the same names, memory from the emulator's shared
// window.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <type_traits>

#include "ivl/cuda/tag.hpp"

#define IVL_SHARED(Type, name)                              \
  static const char name##_declaration = 0;                 \
  auto& name = *static_cast<::std::type_identity_t<Type>*>( \
      ::simt::static_shared(&name##_declaration, int(sizeof(Type)), int(alignof(Type)), ::simt::Site::current()))

#define IVL_DYNAMIC_SHARED(name) unsigned char* const name = ::simt::dynamic_shared()

namespace ivl::IVL_CUDA {

class SharedCarver {
 public:
  explicit SharedCarver(unsigned char* base = nullptr) : base_(base) {}

  template <class T>
  T* take(int count, int alignment = alignof(T) > 16 ? int(alignof(T)) : 16) {
    // A gap that the sanitizer watches, so that running from one array into the next is seen.
    const int gap = bytes_ > 0 && simt::checks_addresses() ? 128 : 0;
    const int start = (bytes_ + gap + alignment - 1) / alignment * alignment;
    const int end = start + count * int(sizeof(T));
    if (base_ != nullptr) {
      simt::poison_for_sanitizer(base_ + bytes_, std::size_t(start - bytes_));
      simt::unpoison_for_sanitizer(base_ + start, std::size_t(end - start));
    }
    bytes_ = end;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + start);
  }

  int bytes() const { return bytes_; }

 private:
  unsigned char* base_;
  int bytes_ = 0;
};

}  // namespace ivl::IVL_CUDA
