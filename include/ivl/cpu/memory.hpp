// Memory of the CPU backend: the host's own, so that copies are copies.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>

#include "ivl/core/buffer.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

inline Memory allocate(Context&, std::size_t bytes) {
  auto buffer = std::make_shared<Buffer>(bytes);
  std::byte* data = buffer->data();
  return {std::move(buffer), data, bytes};
}

inline ThreadPool& host_pool(Context& ctx) { return ctx.pool; }

inline void copy(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

inline void upload(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

inline void download(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

static_assert(MemoryOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
