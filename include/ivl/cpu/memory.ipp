// The bodies of memory.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "ivl/core/buffer.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/usable_memory.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/memory.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

IVL_INLINE Memory allocate(Context&, std::size_t bytes) {
  auto buffer = std::make_shared<Buffer>(bytes);
  std::byte* data = buffer->data();
  return {std::move(buffer), data, bytes};
}

IVL_INLINE void require_memory(Context&, const char* what, std::size_t bytes) {
  const std::int64_t free = usable_memory_bytes().value_or(std::numeric_limits<std::int64_t>::max());
  if (std::int64_t(bytes) > free)
    fail<RoomError>("memory: ", what, " need ", bytes >> 20, " MiB, and ", free >> 20, " MiB are free");
}

IVL_INLINE void copy(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

IVL_INLINE void upload(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

IVL_INLINE void download(Context&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
