// Times of kernels, and what the device can do at best, measured in the same run with the same clock.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "bench/cuda/fill.cuh"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/prim/memory.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/memory.cuh"

namespace ivl::bench {

namespace detail {

template <class = void>
__global__ void empty_kernel() {}

inline constexpr int loads_at_once = 4;  // of 16 bytes a thread

/// Reads `count` times 16 bytes.
template <class = void>
__global__ void __launch_bounds__(256) read_kernel(const uint4* from, std::int64_t count, unsigned* result) {
  const std::int64_t step = std::int64_t(gridDim.x) * 256;
  unsigned sum = 0;
  std::int64_t i = std::int64_t(blockIdx.x) * 256 + threadIdx.x;
  for (; i + (loads_at_once - 1) * step < count; i += loads_at_once * step) {
    uint4 v[loads_at_once];
#pragma unroll
    for (int n = 0; n < loads_at_once; ++n) v[n] = cuda::prim::load_once(from + i + n * step);
#pragma unroll
    for (int n = 0; n < loads_at_once; ++n) sum += v[n].x ^ v[n].y ^ v[n].z ^ v[n].w;
  }
  for (; i < count; i += step) sum += cuda::prim::load_once(from + i).x;
  if (sum == 0x12345678u) *result = sum;  // so that the loads stay
}

template <class = void>
__global__ void __launch_bounds__(256) copy_kernel(const uint4* from, std::int64_t count, uint4* to) {
  const std::int64_t step = std::int64_t(gridDim.x) * 256;
  std::int64_t i = std::int64_t(blockIdx.x) * 256 + threadIdx.x;
  for (; i + (loads_at_once - 1) * step < count; i += loads_at_once * step) {
    uint4 v[loads_at_once];
#pragma unroll
    for (int n = 0; n < loads_at_once; ++n) v[n] = cuda::prim::load_once(from + i + n * step);
#pragma unroll
    for (int n = 0; n < loads_at_once; ++n) cuda::prim::store_once(to + i + n * step, v[n]);
  }
  for (; i < count; i += step) cuda::prim::store_once(to + i, cuda::prim::load_once(from + i));
}

inline constexpr int mma_chains = 8;  // independent accumulators of a warp, more than hide the latency

/// Signs and mantissas differ from scalar to scalar, as in real matrices: on zeros the clocks would stay higher.
template <class = void>
__global__ void __launch_bounds__(256) mma_kernel(int steps, float* result) {
  float c[mma_chains][4] = {};
  std::uint32_t bits[6];
#pragma unroll
  for (unsigned i = 0; i < 6; ++i) {
    const unsigned scrambled = (6 * (256 * blockIdx.x + threadIdx.x) + i) * 2654435761u;
    bits[i] = 0x3f003f00u ^ ((scrambled ^ scrambled >> 15) & 0x807f807fu);  // pairs of bf16 in +-[0.5, 1)
  }
  const std::uint32_t a[4] = {bits[0], bits[1], bits[2], bits[3]}, b[2] = {bits[4], bits[5]};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int chain = 0; chain < mma_chains; ++chain) cuda::prim::mma_m16n8k16<bf16>(c[chain], a, b);
  }
  float sum = 0;
#pragma unroll
  for (int chain = 0; chain < mma_chains; ++chain) sum += c[chain][0] + c[chain][1] + c[chain][2] + c[chain][3];
  if (sum == 1.0f) *result = sum;
}

}  // namespace detail

/// Reads `from`. The first bytes of `result` may change.
inline void read_all(cuda::Context& ctx, const Memory& from, const Memory& result) {
  cuda::launch(detail::read_kernel<>, {.grid = unsigned(8 * ctx.device.sms), .block = 256, .stream = ctx.stream},
               reinterpret_cast<const uint4*>(from.data), std::int64_t(from.bytes / 16),
               reinterpret_cast<unsigned*>(result.data));
}

struct Measured {
  double median_s = 0;
  double noise = 0;  ///< half the distance of the quartiles, as a share of the median
};

/// What the second-level cache holds when a sample starts.
enum class Cache {
  cold,  ///< nothing of the sample's: weights that stream by
  warm,  ///< what the sample before left: activations
};

/// Times what bodies put on the context's stream, between two events.
class Stopwatch {
 public:
  explicit Stopwatch(cuda::Context& ctx, int samples = 25)
      : ctx_(ctx),
        begin_(std::size_t(samples)),
        end_(std::size_t(samples)),
        flushed_(filled(ctx, std::size_t(256) << 20)) {
    for (cudaEvent_t& event : begin_) cuda::check(cudaEventCreate(&event));
    for (cudaEvent_t& event : end_) cuda::check(cudaEventCreate(&event));
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    for (const cudaEvent_t event : begin_) (void)cudaEventDestroy(event);
    for (const cudaEvent_t event : end_) (void)cudaEventDestroy(event);
  }

  /// Seconds of each sample, after two that do not count. The device is kept busy while the host asks for the next
  /// sample, so launches of bodies that take longer than the host needs to ask for them follow each other without gaps.
  /// The cache is flushed by reading: what was written would leave it for memory on the sample's time.
  template <class Body>
  std::vector<double> samples(Body&& body, Cache cache = Cache::cold) {
    body();
    body();
    for (std::size_t i = 0; i < begin_.size(); ++i) {
      // This takes about a hundred microseconds: the host is ahead again. Where the cache shall stay warm, body comes
      // once more.
      read_all(ctx_, flushed_, flushed_);
      if (cache == Cache::warm) body();
      cuda::check(cudaEventRecord(begin_[i], ctx_.stream));
      body();
      cuda::check(cudaEventRecord(end_[i], ctx_.stream));
    }
    cuda::check(cudaStreamSynchronize(ctx_.stream));
    std::vector<double> seconds;
    for (std::size_t i = 0; i < begin_.size(); ++i) {
      float ms = 0;
      cuda::check(cudaEventElapsedTime(&ms, begin_[i], end_[i]));
      seconds.push_back(1e-3 * double(ms));
    }
    return seconds;
  }

  template <class Body>
  Measured measure(Body&& body, Cache cache = Cache::cold) {
    return summary(samples(body, cache));
  }

  static Measured summary(std::vector<double> seconds) {
    std::sort(seconds.begin(), seconds.end());
    const auto quantile = [&](double q) { return seconds[std::size_t(q * double(seconds.size() - 1))]; };
    return {quantile(0.5), (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5)};
  }

 private:
  cuda::Context& ctx_;
  std::vector<cudaEvent_t> begin_, end_;
  Memory flushed_;  // larger than any second-level cache
};

struct Ceilings {
  double read_bytes_per_s = 0;  ///< device memory, read only
  double copy_bytes_per_s = 0;  ///< read and written bytes together
  double mma_flops_per_s = 0;   ///< mma.sync on bf16 out of registers
  double empty_launch_s = 0;    ///< a kernel that does nothing, between two events
};

/// Bytes a second that are read out of `from`, which is larger than any cache. The first bytes of `result` may change.
inline double read_ceiling(cuda::Context& ctx, Stopwatch& stopwatch, const Memory& from, const Memory& result) {
  return double(from.bytes) / stopwatch.measure([&] { read_all(ctx, from, result); }).median_s;
}

inline double copy_ceiling(cuda::Context& ctx, Stopwatch& stopwatch, const Memory& from, const Memory& to) {
  const cuda::LaunchConfig config{.grid = unsigned(8 * ctx.device.sms), .block = 256, .stream = ctx.stream};
  const Measured time = stopwatch.measure([&] {
    cuda::launch(detail::copy_kernel<>, config, reinterpret_cast<const uint4*>(from.data),
                 std::int64_t(from.bytes / 16), reinterpret_cast<uint4*>(to.data));
  });
  return 2 * double(from.bytes) / time.median_s;
}

inline double mma_ceiling(cuda::Context& ctx, Stopwatch& stopwatch, const Memory& result) {
  constexpr int steps = 4096, warps = 8;
  const cuda::LaunchConfig config{.grid = unsigned(8 * ctx.device.sms), .block = 32 * warps, .stream = ctx.stream};
  const Measured time = stopwatch.measure(
      [&] { cuda::launch(detail::mma_kernel<>, config, steps, reinterpret_cast<float*>(result.data)); });
  return 2.0 * 16 * 8 * 16 * detail::mma_chains * steps * warps * config.grid.x / time.median_s;
}

inline Ceilings measure_ceilings(cuda::Context& ctx, Stopwatch& stopwatch) {
  const Memory from = filled(ctx, std::size_t(1) << 30), to = allocate(ctx, from.bytes);
  Ceilings ceilings;
  ceilings.mma_flops_per_s = mma_ceiling(ctx, stopwatch, to);  // takes longest: clocks rise before the rest comes
  ceilings.read_bytes_per_s = read_ceiling(ctx, stopwatch, from, to);
  ceilings.copy_bytes_per_s = copy_ceiling(ctx, stopwatch, from, to);
  const cuda::LaunchConfig one_warp{.grid = 1, .block = 32, .stream = ctx.stream};
  ceilings.empty_launch_s = stopwatch.measure([&] { cuda::launch(detail::empty_kernel<>, one_warp); }).median_s;
  return ceilings;
}

/// What a kernel had to do at least.
struct Work {
  double bytes = 0, flops = 0;
};

/// A table in Markdown: the device and its ceilings, then a line a case.
class Table {
 public:
  Table(const cuda::Context& ctx, const Ceilings& ceilings, const char* name) : ceilings_(ceilings) {
    std::printf("%s\n\n%s, %d SMs; reads %.0f GB/s, copies %.0f GB/s, mma.sync %.0f TFLOP/s, empty launch %.1f us\n\n",
                name, ctx.device.name.c_str(), ctx.device.sms, 1e-9 * ceilings.read_bytes_per_s,
                1e-9 * ceilings.copy_bytes_per_s, 1e-12 * ceilings.mma_flops_per_s, 1e6 * ceilings.empty_launch_s);
    std::printf("| %-44s | %10s | %10s | %9s | %5s | %7s | %7s | %-12s |\n", "case", "kbytes", "Mflop", "us", "noise",
                "GB/s", "TFLOP/s", "of ceiling");
    std::printf("|---|---:|---:|---:|---:|---:|---:|---|\n");
  }

  /// The share is of reading, of copying or of mma.sync, whichever binds: the one that would take longest.
  enum class Bound { read, copy, mma };
  void row(const std::string& name, Work work, Measured time, Bound memory = Bound::read) const {
    const double memory_s =
        work.bytes / (memory == Bound::copy ? ceilings_.copy_bytes_per_s : ceilings_.read_bytes_per_s);
    const double mma_s = work.flops / ceilings_.mma_flops_per_s;
    const bool by_memory = memory_s >= mma_s;
    std::printf("| %-44s | %10.1f | %10.1f | %9.2f | %3.0f %% | %7.0f | %7.1f | %3.0f %% of %-4s |\n", name.c_str(),
                1e-3 * work.bytes, 1e-6 * work.flops, 1e6 * time.median_s, 100 * time.noise,
                1e-9 * work.bytes / time.median_s, 1e-12 * work.flops / time.median_s,
                100 * std::max(memory_s, mma_s) / time.median_s,
                !by_memory              ? "mma"
                : memory == Bound::copy ? "copy"
                                        : "read");
    std::fflush(stdout);
  }

  /// Beside the line before: another's time for the same, and ours over it.
  void peer(const std::string& name, Measured ours, Measured theirs) const {
    std::printf("| %-44s | %10s | %10s | %9.2f | %3.0f %% | %7s | %7s | %4.2fx ours |\n", ("  " + name).c_str(), "", "",
                1e6 * theirs.median_s, 100 * theirs.noise, "", "", theirs.median_s / ours.median_s);
    std::fflush(stdout);
  }

 private:
  Ceilings ceilings_;
};

/// Runs a benchmark's body; an error, such as no device, becomes one line and exit code 1.
template <class Body>
int run(const char* program, Body&& body) {
  try {
    cuda::Context ctx;
    Stopwatch stopwatch(ctx);
    body(ctx, stopwatch, measure_ceilings(ctx, stopwatch));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program, error.what());
    return 1;
  }
}

}  // namespace ivl::bench
