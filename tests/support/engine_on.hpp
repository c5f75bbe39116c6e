// An engine and the runner under it, of a model that someone else owns.
#pragma once
#include "ivl/model/runner.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl_test {

template <ivl::VlmConfig C, class Context, class Scalar>
struct RunnerAndEngine {
  ivl::Runner<C, Context, Scalar> runner;
  ivl::Engine engine;
  RunnerAndEngine(Context& ctx, const ivl::Vlm<C>& vlm, const ivl::EngineOptions& options)
      : runner(ctx, vlm), engine(runner, options) {}
};

/// Starts it, steps until nothing is left, and returns it.
inline std::shared_ptr<ivl::Sequence> run(ivl::Engine& engine, ivl::Request request) {
  const auto sequence = engine.start(std::move(request));
  engine.run();
  if (sequence->error()) std::rethrow_exception(sequence->error());
  return sequence;
}

inline std::vector<std::int32_t> ids_of(const ivl::Sequence& sequence) {
  return {sequence.generated().begin(), sequence.generated().end()};
}

}  // namespace ivl_test
