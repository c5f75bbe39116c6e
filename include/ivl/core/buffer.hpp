// Owned, aligned, uninitialised memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ivl {

/// One cache line, and one AVX-512 register.
inline constexpr std::size_t line_bytes = 64;
inline constexpr std::size_t huge_page_bytes = std::size_t(2) << 20;

/// Wishes for huge pages where `bytes` at `data`, not touched yet, hold whole ones. Failing is fine.
inline void ask_for_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  const auto begin = reinterpret_cast<std::uintptr_t>(data), end = begin + bytes;
  const std::uintptr_t first = (begin + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

/// `size()` bytes on the host, 64-byte aligned; not initialised. From 4 MiB on it asks for huge pages: with 4 KiB pages
/// decode reads weights and keys at about 70 % of the bandwidth, with huge ones at 90 % (Xeon, 4 cores, under a
/// hypervisor).
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : size_(bytes) {
    if (bytes == 0) return;
    const bool huge = bytes >= (std::size_t(4) << 20);
    const std::size_t alignment = huge ? huge_page_bytes : line_bytes;
    data_ = Pointer(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(alignment))), Free{alignment});
    if (huge) ask_for_huge_pages(data_.get(), bytes);
  }
  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  template <class Scalar>
  Scalar* as() const {
    return reinterpret_cast<Scalar*>(data_.get());
  }

 private:
  struct Free {
    std::size_t alignment;
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t(alignment)); }
  };
  using Pointer = std::unique_ptr<std::byte, Free>;
  Pointer data_{nullptr, Free{line_bytes}};
  std::size_t size_ = 0;
};

/// Hands out aligned pieces of one block of memory, in order. With no block it only adds up: the same layout code
/// first measures and then places.
class Carver {
 public:
  Carver() = default;
  explicit Carver(std::byte* base) : base_(base) {}

  /// Room for `number` scalars, 64-byte aligned; null while measuring.
  template <class Scalar>
  Scalar* take(std::int64_t number) {
    const std::size_t at = used_;
    used_ += (std::size_t(number) * sizeof(Scalar) + line_bytes - 1) / line_bytes * line_bytes;
    return base_ ? reinterpret_cast<Scalar*>(base_ + at) : nullptr;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace ivl
