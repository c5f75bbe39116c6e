#include <memory>
#include <sstream>

#include "ivl/cpu/cpu.hpp"
#include "ivl/model/open_model.hpp"
#include "models.hpp"

ivl::AnyModel open_on_cpu(const ModelChoice& choice, const ivl::LoadOptions& options, std::string& device) {
  auto ctx = std::make_unique<ivl::cpu::Context>(choice.threads);
  const auto used = ivl::cpu::Context::level(), offered = ivl::offered_level();
  std::ostringstream text;
  text << name_of(used) << ", " << ctx->threads() << " threads";
  if (used < offered) text << " (this CPU offers " << name_of(offered) << ": build with -march=native)";
  device = text.str();
  return ivl::open_model(std::move(ctx), choice.checkpoint, options);
}
