// What a whole device does at once, by CUB: sorting so far; scan and select would stand here too. Nothing allocates or
// waits, so that all of it can be captured: the caller gives the working memory, of his op's scratch.
//
// The emulator's twin of this header does the same with the standard library.
//
// Registers at most 16 a thread, no spills.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cub/device/device_radix_sort.cuh>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

namespace detail::device_wide {

inline constexpr int threads = 256;

template <class = void>
__global__ void __launch_bounds__(threads) count_up_kernel(std::int32_t* numbers, int count) {
  const int i = int(blockIdx.x) * threads + int(threadIdx.x);
  if (i < count) numbers[i] = i;
}

inline void sort_pairs(std::byte* room, std::size_t& bytes, const std::int32_t* keys, std::int32_t* sorted_keys,
                       const std::int32_t* values, std::int32_t* sorted_values, int count, int key_bits,
                       cudaStream_t stream) {
  check(cub::DeviceRadixSort::SortPairs(room, bytes, keys, sorted_keys, values, sorted_values, count, 0, key_bits,
                                        stream));
}

}  // namespace detail::device_wide

/// Working memory of sort_indices, 64-byte aligned.
inline std::size_t sort_indices_bytes(int count, int key_bits) {
  std::size_t bytes = 0;
  detail::device_wide::sort_pairs(nullptr, bytes, nullptr, nullptr, nullptr, nullptr, count, key_bits, nullptr);
  return std::size_t(round_up(count * std::int64_t(sizeof(std::int32_t)), line_bytes)) + bytes;
}

/// indices [count] become 0, 1, ... in the order of their keys, equal ones in their own; sorted_keys [count] are the
/// keys in this order. Keys have `key_bits` bits.
inline void sort_indices(Context& ctx, const std::int32_t* keys, int count, int key_bits, std::byte* room,
                         std::int32_t* sorted_keys, std::int32_t* indices) {
  using namespace detail::device_wide;
  if (count == 0) return;
  auto* const numbers = reinterpret_cast<std::int32_t*>(room);
  room += round_up(count * std::int64_t(sizeof(std::int32_t)), line_bytes);
  launch(count_up_kernel<>, {.grid = unsigned(ceil_div(count, threads)), .block = threads, .stream = ctx.stream},
         numbers, count);
  std::size_t bytes = 0;
  sort_pairs(nullptr, bytes, keys, sorted_keys, numbers, indices, count, key_bits, ctx.stream);
  sort_pairs(room, bytes, keys, sorted_keys, numbers, indices, count, key_bits, ctx.stream);
}

}  // namespace ivl::IVL_CUDA
