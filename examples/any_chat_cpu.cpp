#include <sstream>

#include "any_chat_on.hpp"
#include "ivl/cpu/cpu.hpp"

std::unique_ptr<AnyChat> open_cpu_chat(const std::filesystem::path& checkpoint, int threads,
                                       const ivl::ChatOptions& options, const ivl::ProgressCallback& progress) {
  auto ctx = std::make_unique<ivl::cpu::Context>(threads);
  const auto used = ivl::cpu::Context::level(), offered = ivl::offered_level();
  std::ostringstream device;
  device << name_of(used) << ", " << ctx->threads() << " threads";
  if (used < offered) device << " (this CPU offers " << name_of(offered) << ": build with -march=native)";
  return open_chat_on(std::move(ctx), device.str(), checkpoint, options, progress);
}
