// Memory of the CUDA backend (see ops/memory.hpp for the contract).
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "ivl/core/constant.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl::IVL_CUDA {

inline ThreadPool& host_pool(Context& ctx) { return ctx.host_pool(); }

/// Throws DeviceError unless `bytes` are free: before work that would take long to find out. `what` is a plural.
inline void require_memory(Context& ctx, const char* what, std::size_t bytes) {
  ctx.block_cache()->clear();
  const std::size_t free = ctx.allocator().free_bytes();
  if (bytes > free) detail::runtime::fail_for_memory(ctx.device, what, bytes, free);
}

/// Throws DeviceError when there is not enough. Allocating may wait for the device, and so may freeing, but for blocks
/// of up to 64 MiB, which are kept for the next request of about their size.
inline Memory allocate(Context& ctx, std::size_t bytes) {
  if (bytes == 0) return {};
  using Block = detail::runtime::BlockCache::Block;
  const std::shared_ptr<detail::runtime::BlockCache> cache = ctx.block_cache();
  Block block = cache->take(bytes);
  if (block.data == nullptr) {
    if (bytes > ctx.allocator().free_bytes()) cache->clear();
    block = {detail::runtime::allocate_bytes(ctx.allocator(), ctx.device, "buffers", bytes), bytes};
  }
  return {std::shared_ptr<void>(block.data, [cache, block](void*) { cache->give_back(block); }), block.data, bytes};
}

inline void copy(Context& ctx, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, ctx.stream));
}

namespace detail::runtime {

/// Copies on the host: a weight's pages come from its file one fault after the other, faster in several threads.
inline void copy_on_host(Context& ctx, std::byte* to, const std::byte* from, std::size_t bytes) {
  constexpr std::size_t part = std::size_t(256) << 10;
  if (bytes <= part) {
    std::memcpy(to, from, bytes);
    return;
  }
  ctx.host_pool().run(ceil_div(std::int64_t(bytes), part), [&](std::int64_t task) {
    const std::size_t first = std::size_t(task) * part;
    std::memcpy(to + first, from + first, std::min(part, bytes - first));
  });
}

}  // namespace detail::runtime

/// Through pinned memory: it waits only while all slots of it are on their way.
inline void upload(Context& ctx, void* to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t now = std::min(bytes - done, detail::runtime::Staging::slot_bytes);
    detail::runtime::copy_on_host(ctx, ctx.staging().wait_for_slot(), static_cast<const std::byte*>(from) + done, now);
    ctx.staging().send(static_cast<std::byte*>(to) + done, now, ctx.stream);
    done += now;
  }
}

/// Waits for the stream.
inline void download(Context& ctx, void* to, const void* from, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t now = std::min(bytes - done, detail::runtime::Staging::slot_bytes);
    std::byte* slot = ctx.staging().wait_for_slot();
    check(cudaMemcpyAsync(slot, static_cast<const std::byte*>(from) + done, now, cudaMemcpyDeviceToHost, ctx.stream));
    check(cudaStreamSynchronize(ctx.stream));
    std::memcpy(static_cast<std::byte*>(to) + done, slot, now);
    done += now;
  }
}

static_assert(MemoryOps<Context>);

}  // namespace ivl::IVL_CUDA
