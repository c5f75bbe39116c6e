// AnyChat on one backend, for the file that instantiates all checkpoints on it.
#pragma once
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "any_chat.hpp"
#include "ivl/serve/chat.hpp"

template <ivl::VlmConfig C, class Context>
class ChatOn final : public AnyChat {
 public:
  ChatOn(std::unique_ptr<Context> ctx, ivl::Checkpoint<C> checkpoint, const ivl::ChatOptions& options,
         std::string device)
      : ctx_(std::move(ctx)),
        checkpoint_(std::move(checkpoint)),
        chat_(*ctx_, checkpoint_, options),
        device_(std::move(device)) {}

  std::string ask(std::string_view question, std::span<const ivl::Image> pictures, ivl::GenerationOptions generation,
                  ivl::TextCallback on_text) override {
    return chat_.ask(question, pictures, std::move(generation), std::move(on_text));
  }
  const ivl::AnswerStatistics& statistics() const override { return chat_.statistics(); }
  ivl::TileGrid grid_of(const ivl::Image& picture) const override {
    return ivl::choose_grid(picture.width, picture.height, chat_.tile_rules());
  }
  const ivl::SamplingFacts& sampling() const override { return checkpoint_.vlm.facts.sampling; }
  std::string description() const override {
    std::ostringstream text;
    text << double(ivl::parameters(C, checkpoint_.vlm.facts.vocab_rows)) / 1e6 << " M parameters, " << device_;
    return text.str();
  }

 private:
  std::unique_ptr<Context> ctx_;
  ivl::Checkpoint<C> checkpoint_;
  ivl::Chat<C, Context> chat_;
  std::string device_;
};

/// `device` is what the chat's description says of it.
template <class Context>
std::unique_ptr<AnyChat> open_chat_on(std::unique_ptr<Context> ctx, const std::string& device,
                                      const std::filesystem::path& checkpoint, const ivl::ChatOptions& options,
                                      const ivl::ProgressCallback& progress) {
  Context& backend = *ctx;
  const auto open = [&]<ivl::VlmConfig C>(ivl::Checkpoint<C>&& loaded) -> std::unique_ptr<AnyChat> {
    return std::make_unique<ChatOn<C, Context>>(std::move(ctx), std::move(loaded), options, device);
  };
  return ivl::with_checkpoint(backend, checkpoint, open, progress);
}
