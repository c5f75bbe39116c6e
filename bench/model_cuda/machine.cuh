// bench_model --device cuda: a GPU as model.hpp wants it. The types are in the .cu files beside this one, which share
// the work among compilers: the first type of a file takes nvcc half a minute, each other one a few seconds.
#pragma once
#include <memory>
#include <sstream>
#include <string>

#include "bench/cuda/ceilings.cuh"
#include "bench/model.hpp"
#include "ivl/cuda/cuda.cuh"

namespace ivl::bench {

class CudaMachine {
 public:
  using Context = cuda::Context;

  explicit CudaMachine(Context& ctx)
      : ctx_(ctx), stopwatch_(ctx, 1), from_(filled(ctx, std::size_t(1) << 30)), result_(allocate(ctx, 16)) {}

  /// Throws DeviceError where there is no device, or one without so much free memory.
  static std::unique_ptr<Filled<Context>> open(const Options& options, std::size_t bytes) {
    auto ctx = std::make_unique<Filled<Context>>(0, options.threads);
    cuda::require_memory(*ctx, "weights, keys and values", bytes);
    return ctx;
  }
  static void wait(Context& ctx) { cuda::check(cudaStreamSynchronize(ctx.stream)); }

  /// What is taken of the device's memory now; nothing of it was given back before.
  static double peak_mib(Context&) {
    std::size_t free = 0, total = 0;
    cuda::check(cudaMemGetInfo(&free, &total));
    return double(total - free) / (1 << 20);
  }

  std::string description() const {
    std::ostringstream text;
    text << ctx_.device.name << "; ceilings: reading memory, mma.sync on bf16";
    return text.str();
  }
  double read_bytes_per_s() { return read_ceiling(ctx_, stopwatch_, from_, result_); }
  double flops_per_s() { return mma_ceiling(ctx_, stopwatch_, result_); }

 private:
  Context& ctx_;
  Stopwatch stopwatch_;
  Memory from_, result_;
};

template <VlmConfig C>
constexpr auto run_cuda = run_model<C, CudaMachine>;

}  // namespace ivl::bench
