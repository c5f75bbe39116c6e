// Memory of the CPU backend: the host's own, so that copies are copies.
#pragma once
#include <cstddef>

#include "ivl/core/compiled.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/memory.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

Memory allocate(Context&, std::size_t bytes);
/// Throws RoomError.
void require_memory(Context&, const char* what, std::size_t bytes);

inline ThreadPool& host_pool(Context& ctx) { return ctx.pool; }

void copy(Context&, void* to, const void* from, std::size_t bytes);
void upload(Context&, void* to, const void* from, std::size_t bytes);
void download(Context&, void* to, const void* from, std::size_t bytes);

static_assert(MemoryOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/memory.ipp"
#endif
