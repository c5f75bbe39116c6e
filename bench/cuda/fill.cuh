// What memory of benchmarks is filled with. Thrust makes it, in fill/fill.cu alone: its headers take seconds to
// compile.
#pragma once
#include <cstdint>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"

namespace ivl::bench {

/// Signs and mantissas differ from number to number, as in real data: on zeros, and on one number over and over, a
/// device draws less power, and its clocks stay higher.
struct Contents {
  std::uint32_t fixed, varied;  ///< bits of each word
};
inline constexpr Contents some_bf16{0x3f003f00u, 0x807f807fu};    // +-[0.5, 1)
inline constexpr Contents some_floats{0x3f000000u, 0x807fffffu};  // +-[0.5, 1)
inline constexpr Contents some_mxfp4{0x70707070u, 0x0f0f0f0fu};   // codes, and scales of 2^-15 to 1
inline constexpr Contents some_codes{0x20202020u, 0x9f9f9f9fu};   // of any width; scales, as halves, of 2^-7 to 2

/// Word i is `fixed`, but for bits of `varied` that differ from word to word.
void fill(cuda::Context& ctx, const Memory& memory, Contents contents);

/// Normal values of this deviation: f32, bf16 or f16.
void fill_normal(cuda::Context& ctx, const Memory& memory, ScalarKind scalar, float deviation = 1);

/// 0, 1, ..., period - 1, 0, 1, ...
void fill_in_turns(cuda::Context& ctx, const Memory& memory, int period);

inline Memory filled(cuda::Context& ctx, std::size_t bytes, Contents contents = some_bf16) {
  const Memory memory = allocate(ctx, std::size_t(round_up(std::int64_t(bytes), 4)));
  fill(ctx, memory, contents);
  return memory;
}

}  // namespace ivl::bench
