// on_level LEVEL PROGRAM ARGUMENTS...: runs the program if this CPU offers the level, else says so and exits with 77,
// which CTest counts as skipped. A program built for a level cannot ask by itself: it may stop at an unknown
// instruction before main. Some hypervisors hide AVX-512 BF16 though the CPU runs it: IVL_FORCE_AVX512_BF16=1
// believes the person instead.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "ivl/core/level.hpp"

int main(int count, char** arguments) {
  if (count < 3) {
    std::fputs("usage: on_level LEVEL PROGRAM ARGUMENTS...\n", stderr);
    return 2;
  }
  const std::string_view wanted = arguments[1];
  ivl::CpuLevel level{};
  if (wanted == "portable")
    level = ivl::CpuLevel::portable;
  else if (wanted == "avx2")
    level = ivl::CpuLevel::avx2;
  else if (wanted == "avx512")
    level = ivl::CpuLevel::avx512;
  else if (wanted == "avx512_bf16")
    level = ivl::CpuLevel::avx512_bf16;
  else {
    std::fprintf(stderr, "on_level: expected portable, avx2, avx512 or avx512_bf16, found %s\n", arguments[1]);
    return 2;
  }
  const char* force = std::getenv("IVL_FORCE_AVX512_BF16");
  const bool forced = level == ivl::CpuLevel::avx512_bf16 && force != nullptr && std::string_view(force) == "1";
  if (!forced && ivl::offered_level() < level) {
    std::printf("skipped: built for %s, this CPU offers %s\n", ivl::name_of(level).data(),
                ivl::name_of(ivl::offered_level()).data());
    return 77;
  }
  execv(arguments[2], arguments + 2);
  std::perror(arguments[2]);
  return 2;
}
