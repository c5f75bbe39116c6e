#include <filesystem>
#include <memory>
#include <sstream>

#include "ivl/cuda/cuda.cuh"
#include "ivl/model/open_model.hpp"
#include "models.hpp"

/// What a checkpoint needs on the device: weights, keys and values, without the scratch of its steps.
static std::size_t needed_bytes(const ModelChoice& choice, const std::filesystem::path& mmproj) {
  const ivl::CheckpointConfig config = ivl::read_checkpoint_config(choice.checkpoint, mmproj);
  std::size_t bytes = std::size_t(kv_bytes_per_token(config.vlm.decoder)) *
                      std::size_t(std::min(choice.kv_tokens, config.facts.context_length));
  if (config.gguf)
    return bytes + ivl::Gguf(config.gguf->model).total_bytes() + ivl::Gguf(config.gguf->mmproj).total_bytes();
  for (const auto& entry : std::filesystem::directory_iterator(choice.checkpoint)) {
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  }
  return bytes;
}

ivl::AnyModel open_on_cuda(const ModelChoice& choice, const ivl::LoadOptions& options, std::string& device) {
  if (choice.in_float) ivl::fail<ivl::RequestError>("--float: expected --device cpu, found cuda");
  if (choice.int8_products) ivl::fail<ivl::RequestError>("--numbers int8: expected --device cpu, found cuda");
  auto ctx = std::make_unique<ivl::cuda::Context>(0, choice.threads);
  require_memory(*ctx, "weights, keys and values", needed_bytes(choice, options.mmproj));
  std::ostringstream text;
  text << ctx->device.name << ", " << ctx->device.sms << " SMs";
  device = text.str();
  return ivl::open_model(std::move(ctx), choice.checkpoint, options);
}
