// bench_model --device cuda. A type takes nvcc half a minute, so only the ones that stand for the others: the bundled
// one, decoders in which launches, and in which weights, are what counts, and the large tower.
#include <memory>
#include <sstream>
#include <string>

#include "bench/cuda/ceilings.cuh"
#include "bench/model.hpp"
#include "ivl/cuda/cuda.cuh"

namespace ivl::bench {

namespace {

class CudaMachine {
 public:
  using Context = cuda::Context;

  explicit CudaMachine(Context& ctx)
      : ctx_(ctx), stopwatch_(ctx, 1), from_(allocate(ctx, std::size_t(1) << 30)), result_(allocate(ctx, 256)) {}

  static std::unique_ptr<Filled<Context>> open(const Options& options) {
    return std::make_unique<Filled<Context>>(0, options.threads);
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
constexpr auto run = run_model<C, CudaMachine>;

const CheckpointTypes checkpoint_types = {
    {"drawn_scenes", run<drawn_scenes>},
    {"internvl3_5_1b", run<internvl3_5_1b>},
    {"internvl3_5_8b", run<internvl3_5_8b>},
    {"internvl3_5_38b", run<internvl3_5_38b>},
};

}  // namespace

void run_on_cuda(const std::string& checkpoint_type, const Options& options) {
  run_type(checkpoint_types, checkpoint_type, options);
}

}  // namespace ivl::bench
