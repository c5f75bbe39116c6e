#include <memory>

#include "ivl/cpu/cpu.hpp"
#include "ivl/model/open_model.hpp"
#include "models.hpp"

ivl::AnyModel open_on_cpu_in_float(const ModelChoice& choice, const ivl::LoadOptions& options) {
  return ivl::open_model<float>(std::make_unique<ivl::cpu::Context>(choice.threads), choice.checkpoint, options);
}
