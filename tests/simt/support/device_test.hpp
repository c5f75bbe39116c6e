// What tests of kernels share, on a GPU and in the emulator: device arrays between guards, and one run in every order.
//
//   TEST_CASE("...") {
//     for_each_order([] {
//       DeviceArray<float> x(values), y(n);           // y is NaN at first
//       cuda::some_op(ctx, x.data(), y.data());
//       const std::vector<float> result = y.download();   // also: nobody wrote to the guards
//     });
//   }
#pragma once
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#if !defined(__CUDACC__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "ivl/core/rows.hpp"
#include "ivl/cuda/runtime/error.cuh"

namespace ivl {

/// Device memory, every byte 0xFF at first (NaN in every float format), with 256 bytes of guard on both sides that no
/// kernel may change. Under the address sanitizer the guards may not even be read.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    cuda::check(cudaMalloc(&memory_, count * sizeof(T) + 2 * guard_bytes));
    cuda::check(cudaMemset(memory_, 0xff, count * sizeof(T) + 2 * guard_bytes));
    cuda::check(cudaDeviceSynchronize());  // contexts' streams do not wait for the default one
    watch_guards();
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    cuda::check(cudaMemcpy(data(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
    cuda::check(cudaDeviceSynchronize());  // it returns before the last bytes are there
  }
  ~DeviceArray() {
    ignore_guards();
    (void)cudaFree(memory_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_ + guard_bytes); }

  /// Waits for the device.
  std::vector<T> download() {
    cuda::check(cudaDeviceSynchronize());
    ignore_guards();
    std::vector<unsigned char> all(count_ * sizeof(T) + 2 * guard_bytes);
    cuda::check(cudaMemcpy(all.data(), memory_, all.size(), cudaMemcpyDeviceToHost));
    watch_guards();
    const auto untouched = [](unsigned char byte) { return byte == 0xff; };
    REQUIRE_MESSAGE(std::all_of(all.begin(), all.begin() + guard_bytes, untouched), "something wrote before the array");
    REQUIRE_MESSAGE(std::all_of(all.end() - guard_bytes, all.end(), untouched), "something wrote behind the array");
    std::vector<T> values(count_);
    if (count_ > 0) std::memcpy(values.data(), all.data() + guard_bytes, count_ * sizeof(T));
    return values;
  }

 private:
  static constexpr std::size_t guard_bytes = 256;

#if defined(__CUDACC__)
  void watch_guards() {}
  void ignore_guards() {}
#else
  void watch_guards() {
    simt::poison_for_sanitizer(memory_, guard_bytes);
    simt::poison_for_sanitizer(memory_ + guard_bytes + count_ * sizeof(T), guard_bytes);
  }
  void ignore_guards() { simt::unpoison_for_sanitizer(memory_, count_ * sizeof(T) + 2 * guard_bytes); }
#endif

  std::size_t count_;
  unsigned char* memory_ = nullptr;
};

/// Rows of device memory so far apart that the third begins beyond what 32 bits count: NaN at first, where nothing else
/// was stored. In the emulator only the pages that are touched take memory.
template <class T>
class FarRows {
 public:
  static constexpr int rows = 3;
  static constexpr std::int64_t stride = (std::int64_t(1) << 30) + 16;  // scalars

  explicit FarRows(int width) : width_(width) {
#if defined(__CUDACC__)
    cuda::check(cudaMalloc(&memory_, bytes));
#else
    void* const memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    memory_ = static_cast<T*>(memory);
#endif
    for (int r = 0; r < rows; ++r) cuda::check(cudaMemset(row(r), 0xff, std::size_t(width) * sizeof(T)));
    cuda::check(cudaDeviceSynchronize());
  }
  /// Row r of `values` [rows, width].
  explicit FarRows(const std::vector<T>& values) : FarRows(int(values.size()) / rows) {
    for (int r = 0; r < rows; ++r)
      cuda::check(cudaMemcpy(row(r), &values[std::size_t(r * width_)], std::size_t(width_) * sizeof(T),
                             cudaMemcpyHostToDevice));
    cuda::check(cudaDeviceSynchronize());
  }
  ~FarRows() {
#if defined(__CUDACC__)
    (void)cudaFree(memory_);
#else
    munmap(memory_, bytes);
#endif
  }
  FarRows(const FarRows&) = delete;
  FarRows& operator=(const FarRows&) = delete;

  Rows<T> view() { return {memory_, rows, width_, stride}; }
  std::vector<T> download() {
    cuda::check(cudaDeviceSynchronize());
    std::vector<T> values(std::size_t(rows * width_));
    for (int r = 0; r < rows; ++r)
      cuda::check(cudaMemcpy(&values[std::size_t(r * width_)], row(r), std::size_t(width_) * sizeof(T),
                             cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  static constexpr std::size_t bytes = std::size_t(rows * stride) * sizeof(T);
  T* row(int r) { return memory_ + r * stride; }

  T* memory_ = nullptr;
  int width_;
};

/// Runs `test` in each thread order of the emulator; once on a GPU. The two builds that check accesses, which costs
/// time, share the orders.
template <class Test>
void for_each_order(const Test& test) {
#if defined(__CUDACC__)
  test();
#else
  for (const simt::Order order : simt::all_orders) {
    const bool seen_with_races = order == simt::Order::greedy || order == simt::Order::random;
    if (seen_with_races ? simt::checks_addresses() : simt::checks_races()) continue;
    simt::options().order = order;
    const std::string order_name = simt::name_of(order);
    CAPTURE(order_name);
    test();
  }
  simt::options().order = simt::Order::fair;
#endif
}

}  // namespace ivl
