// Memory of a backend: blocks, and copies between them and the host.
#pragma once
#include <concepts>
#include <cstddef>
#include <memory>

namespace ivl {

class ThreadPool;  // core/thread_pool.hpp

/// A block of a backend's memory, 64-byte aligned, shared by those who use it; not initialised.
struct Memory {
  std::shared_ptr<void> owner;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// What every backend's context offers beside the ops:
///   host_pool(ctx)                  threads for work on the host
///   allocate(ctx, bytes)            a block; throws when there is not enough
///   require_memory(ctx, what, bytes)  throws with numbers unless so much is free; `what` is a plural. The host gives
///                                   memory away that it does not have, until it is touched
///   upload(ctx, to, from, bytes)    host -> backend; `from` may be reused on return
///   copy(ctx, to, from, bytes)      within the backend
///   download(ctx, to, from, bytes)  backend -> host, after everything that was asked of the context before; waits
template <class Context>
concept MemoryOps = requires(Context& ctx, void* to, const void* from, const char* what, std::size_t bytes) {
  { host_pool(ctx) } -> std::same_as<ThreadPool&>;
  { allocate(ctx, bytes) } -> std::same_as<Memory>;
  require_memory(ctx, what, bytes);
  upload(ctx, to, from, bytes);
  copy(ctx, to, from, bytes);
  download(ctx, to, from, bytes);
};

}  // namespace ivl
