// bench_cuda_gemm: matrix products of many rows at the shapes of the checkpoints, beside cuBLASLt's where the build has
// it (IVL_BENCH_CUBLASLT), and each policy at one large shape. The peer makes the product alone, without an epilogue.
#include <string>
#include <vector>

#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/linear/sm80_gemm.cuh"
#if defined(IVL_BENCH_CUBLASLT)
#include "bench/cuda/cublas.cuh"
#endif

namespace {

using namespace ivl;

struct Case {
  const char* name;
  int rows, out, in;
  EpilogueKind kind = EpilogueKind::store;
};

constexpr Case cases[] = {
    {"300M tower, patches of 13 tiles", 13 * 1024, 1024, 588},
    {"300M tower, qkv, 1 tile", 1025, 3072, 1024},
    {"300M tower, proj, 1 tile", 1025, 1024, 1024, EpilogueKind::add},
    {"300M tower, fc1, 1 tile", 1025, 4096, 1024, EpilogueKind::gelu},
    {"300M tower, fc2, 1 tile", 1025, 1024, 4096, EpilogueKind::add},
    {"300M tower, qkv, 13 tiles", 13 * 1025, 3072, 1024},
    {"300M tower, proj, 13 tiles", 13 * 1025, 1024, 1024, EpilogueKind::add},
    {"300M tower, fc1, 13 tiles", 13 * 1025, 4096, 1024, EpilogueKind::gelu},
    {"300M tower, fc2, 13 tiles", 13 * 1025, 1024, 4096, EpilogueKind::add},
    {"3.5-1B, gate and up", 2048, 6144, 1024, EpilogueKind::swi_glu},
    {"3.5-1B, down", 2048, 1024, 3072, EpilogueKind::add},
    {"3.5-8B, qkv", 2048, 6144, 4096},
    {"3.5-8B, o", 2048, 4096, 4096, EpilogueKind::add},
    {"3.5-8B, gate and up", 2048, 24576, 4096, EpilogueKind::swi_glu},
    {"3.5-8B, down", 2048, 4096, 12288, EpilogueKind::add},
    {"3.5-8B, gate and up", 32, 24576, 4096, EpilogueKind::swi_glu},
    {"3.5-8B, down", 32, 4096, 12288, EpilogueKind::add},
};

/// Normal values: what tensor cores draw, and so how fast they run, depends on the bits that change.
template <class Scalar>
Memory random_values(cuda::Context& ctx, std::int64_t number) {
  const Memory memory = allocate(ctx, std::size_t(number) * sizeof(Scalar));
  bench::fill_normal(ctx, memory, kind_of<Scalar>);
  return memory;
}

template <class Gemm>
void measure(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Table& table, const std::string& name,
             const Case& c, Format format, const Gemm& gemm) {
  const bool gated = c.kind == EpilogueKind::swi_glu;
  const int width = gated ? c.out / 2 : c.out;
  const std::int64_t w_scalars = std::int64_t(c.out) * c.in;
  const Memory x = random_values<bf16>(ctx, std::int64_t(c.rows) * c.in);
  const Memory y = random_values<bf16>(ctx, std::int64_t(c.rows) * width);
  const Memory terms = random_values<float>(ctx, 2 * c.out);
  const PlacedMatrix w{
      format, gated ? Fusion::interleaved : Fusion::stacked, c.out, c.in,
      format == Format::f16 ? random_values<ivl::half>(ctx, w_scalars) : random_values<bf16>(ctx, w_scalars)};
  const auto* bias = reinterpret_cast<const float*>(terms.data);
  const Epilogue epilogue{c.kind, gated ? nullptr : bias, c.kind == EpilogueKind::add ? bias + c.out : nullptr};
  const double y_bytes = 2.0 * c.rows * width * (c.kind == EpilogueKind::add ? 2 : 1);
  const bench::Measured ours = stopwatch.measure([&] {
    gemm(Rows<const bf16>(reinterpret_cast<const bf16*>(x.data), c.rows, c.in), w, epilogue,
         Rows<bf16>(reinterpret_cast<bf16*>(y.data), c.rows, width));
  });
  table.row(
      name + " " + std::to_string(c.rows) + " x " + std::to_string(c.out) + " x " + std::to_string(c.in),
      {.bytes = 2.0 * c.rows * c.in + 2.0 * double(w_scalars) + y_bytes, .flops = 2.0 * c.rows * double(w_scalars)},
      ours);
#if defined(IVL_BENCH_CUBLASLT)
  if (format != Format::bf16) return;
  bench::CublasProduct product(ctx, c.rows, c.out, c.in);
  const Memory whole = allocate(ctx, 2 * std::size_t(c.rows) * std::size_t(c.out));
  table.peer("cuBLASLt", ours, stopwatch.measure([&] { product(x.data, w.memory.data, whole.data); }));
#endif
}

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "gemm, rows x out x in, bf16");
  const auto by_shape = [&](Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<bf16> y) {
    gemm(ctx, cuda::choose_gemm(x.count, w.out, w.in, ctx.device.sms), x, w, epilogue, y);
  };
  for (const Case& c : cases) measure(ctx, stopwatch, table, c.name, c, Format::bf16, by_shape);
  const Case large{"", 8192, 8192, 4096};
  measure(ctx, stopwatch, table, "half weights", large, Format::f16, by_shape);
  const auto with = [&]<cuda::GemmPolicy P>(const char* name, Constant<P>) {
    measure(ctx, stopwatch, table, name, large, Format::bf16,
            [&](Rows<const bf16> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<bf16> y) {
              cuda::gemm<P>(ctx, x, w, epilogue, y);
            });
  };
  with("tall", Constant<cuda::tall_gemm>{});
  with("square", Constant<cuda::square_gemm>{});
  with("narrow", Constant<cuda::narrow_gemm>{});
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_gemm", run); }
