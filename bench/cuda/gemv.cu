// bench_cuda_gemv: the products of a decoding step at the shapes of the checkpoints, from W that no cache holds, beside
// cuBLASLt's where the build has it (IVL_BENCH_CUBLASLT). The peer makes the product alone, without an epilogue.
//
// Those that follow a norm come once more with it, beside rms_norm and gemv in two launches: where the first is faster
// is what max_normed_rows and max_normed_scalars should say.
#include "ivl/cuda/linear/sm80_gemv.cuh"

#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/rows/norm.cuh"
#if defined(IVL_BENCH_CUBLASLT)
#include "bench/cuda/cublas.cuh"
#endif

namespace {

using namespace ivl;

struct Shape {
  const char* name;
  int out, in;
  EpilogueKind kind = EpilogueKind::store;
  bool normed = false;  // in a decoder layer, or the head
};

constexpr Shape shapes[] = {
    {"1B qkv", 4096, 1024, EpilogueKind::store, true},         {"1B o", 1024, 2048, EpilogueKind::add},
    {"1B gate, up", 6144, 1024, EpilogueKind::swi_glu, true},  {"1B down", 1024, 3072, EpilogueKind::add},
    {"8B qkv", 6144, 4096, EpilogueKind::store, true},         {"8B o", 4096, 4096, EpilogueKind::add},
    {"8B gate, up", 24576, 4096, EpilogueKind::swi_glu, true}, {"8B down", 4096, 12288, EpilogueKind::add},
    {"8B head", 151936, 4096, EpilogueKind::store, true},
};

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "gemv, bf16");
  for (const Shape& shape : shapes) {
    const std::size_t w_bytes = std::size_t(shape.out) * std::size_t(shape.in) * sizeof(bf16);
    const bool gated = shape.kind == EpilogueKind::swi_glu;
    const int width = gated ? shape.out / 2 : shape.out;
    const std::size_t x_bytes = cuda::max_gemv_rows * std::size_t(shape.in) * 2;
    const Memory w = bench::filled(ctx, w_bytes), from = bench::filled(ctx, x_bytes), room = allocate(ctx, x_bytes),
                 gain = bench::filled(ctx, std::size_t(shape.in) * 4, bench::some_floats),
                 to = bench::filled(ctx, cuda::max_gemv_rows * std::size_t(width) * 2),
                 whole = allocate(ctx, cuda::max_gemv_rows * std::size_t(shape.out) * 2);
    const PlacedMatrix placed{Format::bf16, gated ? Fusion::interleaved : Fusion::stacked, shape.out, shape.in, w};
    for (const int rows : {1, 4, 8, 16}) {
      const Rows<const bf16> x(reinterpret_cast<const bf16*>(from.data), rows, shape.in);
      const Rows<bf16> y(reinterpret_cast<bf16*>(to.data), rows, width);
      const std::string name = std::string(shape.name) + ", " + std::to_string(rows) + " x " +
                               std::to_string(shape.in) + " -> " + std::to_string(shape.out);
      const double activations = double(rows) * (shape.in + width * (shape.kind == EpilogueKind::add ? 2 : 1)) * 2;
      const bench::Measured ours =
          stopwatch.measure([&] { gemv(ctx, cuda::choose_gemv(rows, shape.out), x, placed, Epilogue{shape.kind}, y); });
      table.row(name, {.bytes = double(w_bytes) + activations, .flops = 2.0 * rows * shape.out * shape.in}, ours);
#if defined(IVL_BENCH_CUBLASLT)
      bench::CublasProduct product(ctx, rows, shape.out, shape.in);
      table.peer("cuBLASLt", ours, stopwatch.measure([&] { product(from.data, w.data, whole.data); }));
#endif
    }
    for (const int rows : {1, 2, 4, 8}) {
      if (!shape.normed) break;
      const Rows<const bf16> x(reinterpret_cast<const bf16*>(from.data), rows, shape.in);
      const Rows<bf16> normed(reinterpret_cast<bf16*>(room.data), rows, shape.in);
      const Rows<bf16> y(reinterpret_cast<bf16*>(to.data), rows, width);
      const float* const gains = reinterpret_cast<const float*>(gain.data);
      const double activations = double(rows) * (shape.in + width) * 2 + shape.in * 4.0;
      const bench::Measured together = stopwatch.measure([&] {
        norm_gemv(ctx, cuda::choose_gemv(rows, shape.out), x, gains, 1e-6f, placed, Epilogue{shape.kind}, y);
      });
      table.row(std::string(shape.name) + " with its norm, " + std::to_string(rows),
                {.bytes = double(w_bytes) + activations, .flops = 2.0 * rows * shape.out * shape.in}, together);
      table.peer("rms_norm, gemv", together, stopwatch.measure([&] {
        rms_norm(ctx, x, gains, 1e-6f, normed);
        gemv(ctx, cuda::choose_gemv(rows, shape.out), Rows<const bf16>(normed), placed, Epilogue{shape.kind}, y);
      }));
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_gemv", run); }
