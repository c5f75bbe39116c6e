#include <memory>

#include "ivl/cpu/cpu.hpp"
#include "ivl/model/open_model.hpp"
#include "models.hpp"
#include "models_cpu.hpp"

ivl::AnyModel open_on_cpu_in_float(const ModelChoice& choice, const ivl::LoadOptions& options) {
  auto ctx = open_context(choice);
  const ivl::cpu::Context& opened = *ctx;
  ivl::AnyModel model = ivl::open_model<float>(std::move(ctx), choice.checkpoint, options);
  say_what_stays_exact(opened, options);
  return model;
}
