#include <algorithm>
#include <memory>
#include <sstream>

#include "ivl/cpu/cpu.hpp"
#include "ivl/model/open_model.hpp"
#include "models.hpp"
#include "models_cpu.hpp"

ivl::AnyModel open_on_cpu(const ModelChoice& choice, const ivl::LoadOptions& options, std::string& device) {
  auto ctx = open_context(choice);
  const auto used = ivl::cpu::Context::level(), offered = ivl::offered_level();
  std::ostringstream text;
  text << name_of(used) << ", " << ctx->threads() << " threads";
  if (choice.int8_products) text << ", products in int8";
  if (used < offered) text << " (this CPU offers " << name_of(offered) << ": build with -march=native)";
  device = text.str();
  if (choice.kv_tokens > 0) {
    const ivl::CheckpointConfig config = ivl::read_checkpoint_config(choice.checkpoint, options.mmproj);
    require_memory(*ctx, "keys and values",
                   std::size_t(kv_bytes_per_token(config.vlm.decoder)) *
                       std::size_t(std::min(choice.kv_tokens, config.facts.context_length)));
  }
  const ivl::cpu::Context& opened = *ctx;
  ivl::AnyModel model = ivl::open_model(std::move(ctx), choice.checkpoint, options);
  say_what_stays_exact(opened, options);
  return model;
}
