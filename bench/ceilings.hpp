// What this machine can do at best, measured with the same threads and the same clock as what is compared with it.
#pragma once
#include <cstdint>
#include <cstring>

#include "bench/timing.hpp"
#include "ivl/core/buffer.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"

namespace ivl::bench {

inline namespace IVL_CPU_LEVEL {
namespace detail {

template <class Value>
void keep(const Value& value) {
  asm volatile("" : : "m"(value) : "memory");
}

inline cpu::Lanes read_all(const std::byte* from, std::size_t bytes) {
  cpu::Lanes total[4] = {cpu::Lanes::zero(), cpu::Lanes::zero(), cpu::Lanes::zero(), cpu::Lanes::zero()};
  for (std::size_t at = 0; at + 256 <= bytes; at += 256) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      total[i] = total[i] + cpu::Lanes::load(reinterpret_cast<const float*>(from + at + 64 * i));
    }
  }
  return (total[0] + total[1]) + (total[2] + total[3]);
}

/// Arithmetic alone: as many independent sums as hide the latency and fit the registers.
inline cpu::Lanes calculate(std::int64_t steps) {
  constexpr int sums = compiled_level >= CpuLevel::avx512 ? 16 : compiled_level == CpuLevel::avx2 ? 6 : 2;
  volatile float one = 1;  // the compiler may not know it
  const cpu::Lanes x = cpu::Lanes::of(one);
  cpu::Lanes total[sums];
#pragma GCC unroll 32
  for (int i = 0; i < sums; ++i) total[i] = cpu::Lanes::of(float(i));
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < sums; ++i) {
#if defined(IVL_AVX512_BF16)
      total[i].v = _mm512_dpbf16_ps(total[i].v, (__m512bh)x.v, (__m512bh)x.v);
#else
      total[i] = fma(total[i], x, x);  // x * x would leave the loop
#endif
    }
  }
#pragma GCC unroll 32
  for (int i = 1; i < sums; ++i) total[0] = total[0] + total[i];
  return total[0];
}

inline constexpr std::int64_t flops_a_step = [] {
  switch (compiled_level) {
    case CpuLevel::avx512_bf16:
      return 16 * 64;
    case CpuLevel::avx512:
      return 16 * 32;
    case CpuLevel::avx2:
      return 6 * 32;
    case CpuLevel::portable:
      return 2 * 32;
  }
  return 0;
}();

}  // namespace detail

/// Bytes a second that all threads together read out of memory: 1 GiB, larger than any cache.
class ReadCeiling {
 public:
  explicit ReadCeiling(cpu::Context& ctx, std::size_t bytes = std::size_t(1) << 30) : ctx_(ctx), memory_(bytes) {
    std::memset(memory_.data(), 0, bytes);
  }
  double sample() {
    const std::int64_t tasks = 64;
    const std::size_t part = memory_.size() / tasks;
    const double seconds = seconds_of([&] {
      ctx_.pool.run(tasks, [&](std::int64_t task) {
        detail::keep(detail::read_all(memory_.data() + std::size_t(task) * part, part));
      });
    });
    return double(memory_.size()) / seconds;
  }

 private:
  cpu::Context& ctx_;
  Buffer memory_;
};

/// Floating-point operations a second of all threads together: bf16 dot products where the CPU code is compiled for
/// them, fused multiply-adds in float elsewhere.
inline double arithmetic_sample(cpu::Context& ctx) {
  constexpr std::int64_t steps = 1 << 16, tasks = 16;
  const double seconds = seconds_of(
      [&] { ctx.pool.run(tasks * ctx.threads(), [&](std::int64_t) { detail::keep(detail::calculate(steps)); }); });
  return double(tasks * ctx.threads() * steps * detail::flops_a_step) / seconds;
}

constexpr const char* arithmetic_name() {
  return compiled_level == CpuLevel::avx512_bf16 ? "bf16 dot products" : "float multiply-adds";
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::bench
