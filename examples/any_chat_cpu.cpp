#include <sstream>
#include <utility>

#include "any_chat.hpp"
#include "ivl/ivl.hpp"

namespace {

template <ivl::VlmConfig C>
class CpuChat final : public AnyChat {
 public:
  CpuChat(std::unique_ptr<ivl::cpu::Context> ctx, ivl::Checkpoint<C> checkpoint, const ivl::ChatOptions& options)
      : ctx_(std::move(ctx)), checkpoint_(std::move(checkpoint)), chat_(*ctx_, checkpoint_, options) {}

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
    const auto used = ivl::cpu::Context::level(), offered = ivl::offered_level();
    std::ostringstream text;
    text << double(ivl::parameters(C, checkpoint_.vlm.facts.vocab_rows)) / 1e6 << " M parameters, " << name_of(used) << ", "
         << ctx_->threads() << " threads";
    if (used < offered) text << " (this CPU offers " << name_of(offered) << ": build with -march=native)";
    return text.str();
  }

 private:
  std::unique_ptr<ivl::cpu::Context> ctx_;
  ivl::Checkpoint<C> checkpoint_;
  ivl::Chat<C, ivl::cpu::Context> chat_;
};

}  // namespace

std::unique_ptr<AnyChat> open_cpu_chat(const std::filesystem::path& checkpoint, int threads, const ivl::ChatOptions& options,
                                       const ivl::ProgressCallback& progress) {
  auto ctx = std::make_unique<ivl::cpu::Context>(threads);
  const auto open = [&]<ivl::VlmConfig C>(ivl::Checkpoint<C>&& loaded) -> std::unique_ptr<AnyChat> {
    return std::make_unique<CpuChat<C>>(std::move(ctx), std::move(loaded), options);
  };
  return ivl::with_checkpoint(*ctx, checkpoint, open, progress);
}
