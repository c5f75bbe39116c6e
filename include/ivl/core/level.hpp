// Which instructions the CPU code was compiled for. Every function whose body depends on it lives in
// `inline namespace IVL_CPU_LEVEL`, so that differently built files can meet in one program.
#pragma once
#include <string_view>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define IVL_AVX512 1
#if defined(__AVX512BF16__)
#define IVL_AVX512_BF16 1
#define IVL_CPU_LEVEL avx512_bf16
#else
#define IVL_CPU_LEVEL avx512
#endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define IVL_AVX2 1
#define IVL_CPU_LEVEL avx2
#else
#define IVL_CPU_LEVEL portable
#endif

namespace ivl {

/// From least to most; each includes the ones before it.
enum class CpuLevel { portable, avx2, avx512, avx512_bf16 };

constexpr std::string_view name_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::portable:
      return "portable";
    case CpuLevel::avx2:
      return "AVX2";
    case CpuLevel::avx512:
      return "AVX-512";
    case CpuLevel::avx512_bf16:
      return "AVX-512 BF16";
  }
  return "?";
}

inline namespace IVL_CPU_LEVEL {
/// What this file was compiled for.
inline constexpr CpuLevel compiled_level = CpuLevel::IVL_CPU_LEVEL;
}  // namespace IVL_CPU_LEVEL

/// What the CPU that runs this offers.
inline CpuLevel offered_level() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return CpuLevel::avx512_bf16;
  if (avx512) return CpuLevel::avx512;
  if (avx2) return CpuLevel::avx2;
#endif
  return CpuLevel::portable;
}

}  // namespace ivl
