// The emulator's twin of kernels/ivl/cuda/runtime/device_wide.cuh: the standard library, as work of the stream. What
// CUB would write to, working memory included, is written to.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

inline std::size_t sort_indices_bytes(int count, int) { return std::size_t(count) * 8 + 1000; }

inline void sort_indices(Context& ctx, const std::int32_t* keys, int count, int key_bits, std::byte* room,
                         std::int32_t* sorted_keys, std::int32_t* indices) {
  const auto sort = [=] {
    std::memset(room, 0xff, sort_indices_bytes(count, key_bits));
    const auto key_of = [=](std::int32_t index) { return keys[index] & ((1 << key_bits) - 1); };
    std::iota(indices, indices + count, 0);
    std::stable_sort(indices, indices + count, [=](auto a, auto b) { return key_of(a) < key_of(b); });
    std::transform(indices, indices + count, sorted_keys, [=](std::int32_t index) { return keys[index]; });
  };
  check(simt::do_in_stream(ctx.stream, "a sort", sort));
}

}  // namespace ivl::IVL_CUDA
