// Steps that repeat: a backend may record what one asks of it, and run the recording from then on.
#pragma once
#include <cstdint>

namespace ivl {

/// What a backend offers:
///   Context::Recordings                  what was recorded, by key; it holds addresses of what steps work on
///   replay(ctx, recordings, key, body)   does what body() asks of the context
/// Under one key body() asks for the same each time: the same ops, addresses, sizes and host values. What differs from
/// time to time lies in the context's memory. It neither allocates nor copies from or to the host.
template <class Context>
concept ReplayOp = requires(Context& ctx, typename Context::Recordings& recordings, std::uint64_t key, void (*body)()) {
  replay(ctx, recordings, key, body);
};

}  // namespace ivl
