// bench_cuda_gemv: the products of a decoding step at the shapes of the checkpoints, from W that no cache holds, beside
// cuBLASLt's where the build has it (IVL_BENCH_CUBLASLT). The peer makes the product alone, without an epilogue.
#include "ivl/cuda/gemv.cuh"

#include "bench/cuda/ceilings.cuh"
#if defined(IVL_BENCH_CUBLASLT)
#include "bench/cuda/cublas.cuh"
#endif

namespace {

using namespace ivl;

struct Shape {
  const char* name;
  int out, in;
  EpilogueKind kind = EpilogueKind::store;
};

constexpr Shape shapes[] = {
    {"1B qkv", 4096, 1024},
    {"1B o", 1024, 2048, EpilogueKind::add},
    {"1B gate, up", 6144, 1024, EpilogueKind::swi_glu},
    {"1B down", 1024, 3072, EpilogueKind::add},
    {"8B qkv", 6144, 4096},
    {"8B o", 4096, 4096, EpilogueKind::add},
    {"8B gate, up", 24576, 4096, EpilogueKind::swi_glu},
    {"8B down", 4096, 12288, EpilogueKind::add},
    {"8B head", 151936, 4096},
};

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "gemv, bf16");
  for (const Shape& shape : shapes) {
    const std::size_t w_bytes = std::size_t(shape.out) * std::size_t(shape.in) * sizeof(bf16);
    const bool gated = shape.kind == EpilogueKind::swi_glu;
    const int width = gated ? shape.out / 2 : shape.out;
    const Memory w = allocate(ctx, w_bytes), from = allocate(ctx, cuda::max_gemv_rows * std::size_t(shape.in) * 2),
                 to = allocate(ctx, cuda::max_gemv_rows * std::size_t(width) * 2),
                 whole = allocate(ctx, cuda::max_gemv_rows * std::size_t(shape.out) * 2);
    for (const Memory& memory : {w, from, to})
      cuda::check(cudaMemsetAsync(memory.data, 0x3c, memory.bytes, ctx.stream));
    const PlacedMatrix placed{Format::bf16, gated ? Fusion::interleaved : Fusion::stacked, shape.out, shape.in, w};
    for (const int rows : {1, 4, 8, 16}) {
      const Rows<const bf16> x(reinterpret_cast<const bf16*>(from.data), rows, shape.in);
      const Rows<bf16> y(reinterpret_cast<bf16*>(to.data), rows, width);
      const std::string name = std::string(shape.name) + ", " + std::to_string(rows) + " x " +
                               std::to_string(shape.in) + " -> " + std::to_string(shape.out);
      const double activations = double(rows) * (shape.in + width * (shape.kind == EpilogueKind::add ? 2 : 1)) * 2;
      const bench::Measured ours = stopwatch.measure([&] { gemv(ctx, x, placed, Epilogue{shape.kind}, y); });
      table.row(name, {.bytes = double(w_bytes) + activations, .flops = 2.0 * rows * shape.out * shape.in}, ours);
#if defined(IVL_BENCH_CUBLASLT)
      bench::CublasProduct product(ctx, rows, shape.out, shape.in);
      table.peer("cuBLASLt", ours, stopwatch.measure([&] { product(from.data, w.data, whole.data); }));
#endif
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_gemv", run); }
