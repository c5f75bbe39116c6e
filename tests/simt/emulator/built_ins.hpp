// CUDA's language extensions and device functions for the emulator. What a kernel uses and is not here does not
// compile;
// `__shared__` is left out on purpose, see shared_memory.cuh.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/simt/emulator/core.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
// Of a kernel the bounds are kept, where the compiler can: as so many instructions that do nothing, before the
// function.
#if defined(SIMT_KEEPS_LAUNCH_BOUNDS)
#define __launch_bounds__(...) \
  __attribute__((patchable_function_entry(simt::bound_of(__VA_ARGS__) + 0, simt::bound_of(__VA_ARGS__) + 0)))
namespace simt {
constexpr int bound_of(int threads, int = 0) { return threads; }
}  // namespace simt
#else
#define __launch_bounds__(...)
#endif
#define __align__(bytes) __attribute__((aligned(bytes)))

// ---- barriers and fences --------------------------------------------------------------------------
inline void __syncthreads(simt::Site at = simt::Site::current()) { simt::block_barrier("__syncthreads", at); }
inline int __syncthreads_and(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_vote(predicate != 0, simt::Vote::all, "__syncthreads_and", at);
}
inline int __syncthreads_or(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_vote(predicate != 0, simt::Vote::any, "__syncthreads_or", at);
}
inline int __syncthreads_count(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_vote(predicate != 0, simt::Vote::count, "__syncthreads_count", at);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, simt::Site at = simt::Site::current()) {
  simt::warp_barrier(mask, at);
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { simt::trap(); }

// ---- warp -----------------------------------------------------------------------------------------
namespace simt {

template <class T>
T shuffle_value(unsigned mask, T value, Shuffle kind, int operand, int width, Site at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(mask, bits, kind, operand, width, at);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, simt::Site at = simt::Site::current()) {
  return simt::shuffle_value(mask, value, simt::Shuffle::indexed, lane, width, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Site at = simt::Site::current()) {
  return simt::shuffle_value(mask, value, simt::Shuffle::up, int(delta), width, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, simt::Site at = simt::Site::current()) {
  return simt::shuffle_value(mask, value, simt::Shuffle::down, int(delta), width, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, simt::Site at = simt::Site::current()) {
  return simt::shuffle_value(mask, value, simt::Shuffle::exclusive_or, lane_mask, width, at);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, simt::Site at = simt::Site::current()) {
  return simt::ballot(mask, predicate != 0, "__ballot_sync", at);
}
inline int __any_sync(unsigned mask, int predicate, simt::Site at = simt::Site::current()) {
  return simt::ballot(mask, predicate != 0, "__any_sync", at) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Site at = simt::Site::current()) {
  return simt::ballot(mask, predicate != 0, "__all_sync", at) == mask;
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::add, at);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::min, at);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::max, at);
}
inline int __reduce_add_sync(unsigned mask, int value, simt::Site at = simt::Site::current()) {
  return int(simt::reduce(mask, unsigned(value), simt::Reduce::add, at));
}
inline int __reduce_min_sync(unsigned mask, int value, simt::Site at = simt::Site::current()) {
  return int(simt::reduce(mask, unsigned(value), simt::Reduce::signed_min, at));
}
inline int __reduce_max_sync(unsigned mask, int value, simt::Site at = simt::Site::current()) {
  return int(simt::reduce(mask, unsigned(value), simt::Reduce::signed_max, at));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::bit_and, at);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::bit_or, at);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, simt::Site at = simt::Site::current()) {
  return simt::reduce(mask, value, simt::Reduce::bit_xor, at);
}

// ---- atomics --------------------------------------------------------------------------------------
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  return simt::atomic<T>(address, value, simt::Atomic::add, at);
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  static_assert(std::is_integral_v<T>, "atomicMin: CUDA has it for integers only");
  return simt::atomic<T>(address, value, simt::Atomic::min, at);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  static_assert(std::is_integral_v<T>, "atomicMax: CUDA has it for integers only");
  return simt::atomic<T>(address, value, simt::Atomic::max, at);
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  return simt::atomic<T>(address, value, simt::Atomic::exchange, at);
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  return simt::atomic<T>(address, value, simt::Atomic::bit_and, at);
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value, simt::Site at = simt::Site::current()) {
  return simt::atomic<T>(address, value, simt::Atomic::bit_or, at);
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> desired,
            simt::Site at = simt::Site::current()) {
  return simt::compare_and_swap<T>(address, expected, desired, at);
}

// ---- bits and arithmetic --------------------------------------------------------------------------
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline int __popc(unsigned value) { return std::popcount(value); }
/// Byte i of the result is that of y:x which the low three bits of nibble i of the selector number.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t both = std::uint64_t(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= unsigned(both >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return result;
}
inline int __clz(int value) { return std::countl_zero(unsigned(value)); }
inline int __ffs(int value) { return value == 0 ? 0 : std::countr_zero(unsigned(value)) + 1; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
using std::max;
using std::min;

template <class T>
T __ldg(const T* address) {
  return *address;
}
