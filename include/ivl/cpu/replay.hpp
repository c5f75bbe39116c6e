// Steps that repeat, on the CPU: asking costs nothing here, so nothing is recorded.
#pragma once
#include <cstdint>

#include "ivl/cpu/context.hpp"
#include "ivl/ops/replay.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <class Body>
void replay(Context&, Context::Recordings&, std::uint64_t, Body&& body) {
  body();
}

static_assert(ReplayOp<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
