// Steps captured in CUDA graphs (see ops/replay.hpp for the contract). A step of a decoder is hundreds of launches of a
// few microseconds of host time each; a graph is one.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <utility>

#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/replay.hpp"

namespace ivl::IVL_CUDA {

/// Graphs by key and order.
class Context::Recordings {
 public:
  Recordings() = default;
  Recordings(const Recordings&) = delete;
  Recordings& operator=(const Recordings&) = delete;
  ~Recordings() {
    for (const auto& [key, recording] : recordings_) {
      if (recording.graph != nullptr) (void)cudaGraphExecDestroy(recording.graph);
    }
  }

 private:
  struct Recording {
    cudaGraphExec_t graph = nullptr;
    int scratch_generation = 0;  // of the context, when it was captured
  };
  /// A context's order says which kernels a step runs and how much they work in: another order is another step.
  using Key = std::pair<Order, std::uint64_t>;
  std::map<Key, Recording> recordings_;

  template <class Body>
  friend void replay(Context& ctx, Recordings& recordings, std::uint64_t key, Body&& body);
};

namespace detail::runtime {

/// What `body` asks of the context, not done but recorded.
template <class Body>
cudaGraphExec_t capture(Context& ctx, Body& body) {
  check(cudaStreamBeginCapture(ctx.stream, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    (void)cudaStreamEndCapture(ctx.stream, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(ctx.stream, &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(code);
  return executable;
}

}  // namespace detail::runtime

/// The first time under a key, in the context's order, the work is done as it is asked for, so that scratch grows; the
/// second time it is captured; from then on the graph runs. It is captured anew after scratch has moved.
template <class Body>
void replay(Context& ctx, Context::Recordings& recordings, std::uint64_t key, Body&& body) {
  if (synchronous_launches()) return body();  // of a graph no launch could tell which kernel failed
  const Context::Recordings::Key ordered_key{ctx.order, key};
  const auto known = recordings.recordings_.find(ordered_key);
  if (known == recordings.recordings_.end()) {
    body();
    recordings.recordings_.emplace(ordered_key, Context::Recordings::Recording{});
    return;
  }
  Context::Recordings::Recording& recording = known->second;
  if (recording.graph == nullptr || recording.scratch_generation != ctx.scratch_generation()) {
    if (recording.graph != nullptr) check(cudaGraphExecDestroy(std::exchange(recording.graph, nullptr)));
    recording.graph = detail::runtime::capture(ctx, body);
    recording.scratch_generation = ctx.scratch_generation();
  }
  check(cudaGraphLaunch(recording.graph, ctx.stream));
}

static_assert(ReplayOp<Context>);

}  // namespace ivl::IVL_CUDA
