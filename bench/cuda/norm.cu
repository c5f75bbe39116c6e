// bench_cuda_norm: rms_norm and layer_norm at the widths of the checkpoints, a decoding row, a prefill chunk and a
// tile.
#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/rows/norm.cuh"

namespace {

using namespace ivl;

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "norm, bf16");
  for (const int width : {1024, 3200, 4096}) {
    const Memory terms = allocate(ctx, 2 * std::size_t(width) * sizeof(float));
    const auto* gain = reinterpret_cast<const float*>(terms.data);
    for (const int rows : {1, 16, 512, 1025}) {
      const std::size_t bytes = std::size_t(rows) * std::size_t(width) * sizeof(bf16);
      const Memory from = allocate(ctx, bytes), to = allocate(ctx, bytes);
      const Rows<const bf16> x(reinterpret_cast<const bf16*>(from.data), rows, width);
      const Rows<bf16> y(reinterpret_cast<bf16*>(to.data), rows, width);
      const std::string size = " " + std::to_string(rows) + " x " + std::to_string(width);
      const double moved = 2 * double(bytes);
      using Bound = bench::Table::Bound;
      table.row("rms_norm" + size, {.bytes = moved + 4.0 * width},
                stopwatch.measure([&] { rms_norm(ctx, x, gain, 1e-6f, y); }), Bound::copy);
      table.row("layer_norm" + size, {.bytes = moved + 8.0 * width},
                stopwatch.measure([&] { layer_norm(ctx, x, gain, gain + width, 1e-6f, y); }), Bound::copy);
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_norm", run); }
