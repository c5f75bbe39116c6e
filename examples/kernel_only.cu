// Kernels without any model: one norm and one matrix product on bf16 rows, run, checked at one element and timed.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/cuda/linear/linear.cuh"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/runtime/memory.cuh"

using namespace ivl;

namespace {

constexpr int rows = 16, width = 1024, out = 4096;

template <class Scalar>
Rows<Scalar> rows_on_device(const Memory& memory, int columns) {
  return {reinterpret_cast<Scalar*>(memory.data), rows, columns};
}

/// y = rms_norm(x) W^T, in two launches.
void run(ivl::cuda::Context& ctx, const Memory& x, const PlacedVector& gain, const PlacedMatrix& w,
         const Memory& normed, const Memory& y) {
  rms_norm(ctx, rows_on_device<const bf16>(x, width), gain.data(), 1e-6f, rows_on_device<bf16>(normed, width));
  linear(ctx, rows_on_device<const bf16>(normed, width), w, Epilogue{}, rows_on_device<bf16>(y, out));
}

}  // namespace

int main() {
  try {
    ivl::cuda::Context ctx;
    // x = 2 everywhere, so its norm is 1; gain = 3; row o of W holds o % 7 / 64 everywhere: y[o] = 3 * 1024 * (o % 7)
    // / 64.
    const std::vector<bf16> twos(rows * width, round_to<bf16>(2)), threes(width, round_to<bf16>(3));
    std::vector<bf16> weights;
    for (int o = 0; o < out; ++o) weights.insert(weights.end(), width, round_to<bf16>(float(o % 7) / 64));
    const auto bytes = [](const std::vector<bf16>& values) { return std::as_bytes(std::span(values)); };

    const Memory x = allocate(ctx, bytes(twos).size()), normed = allocate(ctx, x.bytes),
                 y = allocate(ctx, rows * out * sizeof(bf16));
    upload(ctx, x.data, twos.data(), x.bytes);
    const TensorView gain_view{Dtype::bf16, {width}, bytes(threes)};
    const SourceMatrix source = source_matrix(Format::bf16, out, width, {bytes(weights)});
    const PlacedVector gain = place_vector(ctx, {&gain_view, 1});
    const PlacedMatrix w = place_matrix(ctx, {&source, 1}, Fusion::stacked);

    run(ctx, x, gain, w, normed, y);
    std::vector<bf16> result(rows * out);
    download(ctx, result.data(), y.data, y.bytes);
    for (int i = 0; i < rows * out; ++i) {
      const float wanted = 48 * float(i % out % 7);  // eps = 1e-6 vanishes in bf16
      if (to_float(result[i]) != wanted) fail<Error>("y[", i, "]: expected ", wanted, ", found ", to_float(result[i]));
    }

    cudaEvent_t begin, end;
    ivl::cuda::check(cudaEventCreate(&begin));
    ivl::cuda::check(cudaEventCreate(&end));
    std::vector<float> us;
    for (int sample = 0; sample < 21; ++sample) {
      ivl::cuda::check(cudaEventRecord(begin, ctx.stream));
      run(ctx, x, gain, w, normed, y);
      ivl::cuda::check(cudaEventRecord(end, ctx.stream));
      ivl::cuda::check(cudaEventSynchronize(end));
      float ms = 0;
      ivl::cuda::check(cudaEventElapsedTime(&ms, begin, end));
      us.push_back(1000 * ms);
    }
    std::sort(us.begin(), us.end());
    std::printf(
        "%s: rms_norm and linear of %d rows, %d to %d, are right; together %.1f us (median of %zu, warm cache)\n",
        ctx.device.name.c_str(), rows, width, out, us[us.size() / 2], us.size());
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
