#include <filesystem>
#include <sstream>

#include "any_chat_on.hpp"
#include "ivl/cuda/cuda.cuh"

/// Weights, keys and values: what a checkpoint needs on the device, but for what its steps work in.
static std::size_t needed_bytes(const std::filesystem::path& checkpoint, const ivl::ChatOptions& options) {
  const ivl::CheckpointConfig config = ivl::read_checkpoint_config(checkpoint);
  std::size_t bytes = std::size_t(kv_bytes_per_token(config.vlm.decoder)) *
                      std::size_t(std::min(options.kv_tokens, config.facts.context_length));
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint)) {
    if (entry.path().extension() == ".safetensors") bytes += entry.file_size();
  }
  return bytes;
}

std::unique_ptr<AnyChat> open_cuda_chat(const std::filesystem::path& checkpoint, int threads,
                                        const ivl::ChatOptions& options, const ivl::ProgressCallback& progress) {
  auto ctx = std::make_unique<ivl::cuda::Context>(0, threads);
  require_memory(*ctx, "weights, keys and values", needed_bytes(checkpoint, options));
  std::ostringstream device;
  device << ctx->device.name << ", " << ctx->device.sms << " SMs";
  return open_chat_on(std::move(ctx), device.str(), checkpoint, options, progress);
}
