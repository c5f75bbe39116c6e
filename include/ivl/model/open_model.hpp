// Opens a folder of any checkpoint of a list. It instantiates all of them: one file of a program is enough.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>

#include "ivl/model/any_model.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/model/runner.hpp"

namespace ivl {

namespace detail {

template <VlmConfig C, class Context, class Scalar>
class ModelParts final : public AnyModel::Parts {
 public:
  ModelParts(std::unique_ptr<Context> ctx, Checkpoint<C> checkpoint)
      : ctx_(std::move(ctx)), checkpoint_(std::move(checkpoint)), runner_(*ctx_, checkpoint_.vlm) {}
  const Processor& processor() const override { return checkpoint_.processor; }
  AnyRunner& runner() override { return runner_; }
  std::int64_t parameters() const override { return ivl::parameters(C, checkpoint_.vlm.facts.vocab_rows); }

 private:
  std::unique_ptr<Context> ctx_;
  Checkpoint<C> checkpoint_;
  Runner<C, Context, Scalar> runner_;
};

}  // namespace detail

/// The model of a folder, on a backend that it then owns. `Scalar` is that of the activations. Throws as
/// `with_checkpoint` does.
template <class Scalar = bf16, class List = AllCheckpoints, class Context>
AnyModel open_model(std::unique_ptr<Context> ctx, const std::filesystem::path& folder,
                    const LoadOptions& options = {}) {
  Context& backend = *ctx;
  const auto open = [&]<VlmConfig C>(Checkpoint<C>&& loaded) {
    return AnyModel(std::make_unique<detail::ModelParts<C, Context, Scalar>>(std::move(ctx), std::move(loaded)));
  };
  return with_checkpoint<List>(backend, folder, open, options);
}

}  // namespace ivl
