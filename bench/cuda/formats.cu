// bench_cuda_formats: products with weights of every kind of format, at the shapes of an 8B model: a row and eight of
// decoding, in both orders, and a prompt. Beside each stands the product with bf16 weights.
#include <string>

#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/linear/linear.cuh"

namespace {

using namespace ivl;
using ivl::cuda::Order;

/// Of each kind of codes, scales and runs, and one that is unpacked first.
constexpr Format some_formats[] = {Format::q8_0,   Format::q4_0, Format::q4_k,      Format::q5_k,    Format::q6_k,
                                   Format::iq4_nl, Format::awq,  Format::f8_blocks, Format::i8_rows, Format::iq2_xs};

struct Shape {
  const char* name;
  int out, in;
  EpilogueKind kind;
};
constexpr Shape shapes[] = {{"8B gate, up", 24576, 4096, EpilogueKind::swi_glu},
                            {"8B down", 4096, 12288, EpilogueKind::add}};

PlacedMatrix some_matrix(ivl::cuda::Context& ctx, Format format, const Shape& shape) {
  return {format, shape.kind == EpilogueKind::swi_glu ? Fusion::interleaved : Fusion::stacked, shape.out, shape.in,
          bench::filled(ctx, std::size_t(ivl::cuda::detail::stored_bytes(format, shape.out, shape.in)),
                        format == Format::bf16 ? bench::some_bf16 : bench::some_codes)};
}

void run(ivl::cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "formats, rows x out x in");
  constexpr int most_rows = 2048;
  for (const Shape& shape : shapes) {
    const int width = shape.kind == EpilogueKind::swi_glu ? shape.out / 2 : shape.out;
    const Memory x = bench::filled(ctx, std::size_t(most_rows) * std::size_t(shape.in) * 2),
                 y = bench::filled(ctx, std::size_t(most_rows) * std::size_t(width) * 2);
    const PlacedMatrix scalars = some_matrix(ctx, Format::bf16, shape);
    for (const Format format : some_formats) {
      const PlacedMatrix w = some_matrix(ctx, format, shape);
      for (const auto& [rows, order] : {std::pair(1, Order::fastest), std::pair(8, Order::fastest),
                                        std::pair(1, Order::invariant), std::pair(most_rows, Order::invariant)}) {
        ctx.order = order;
        const auto product = [&](const PlacedMatrix& matrix) {
          linear(ctx, Rows<const bf16>(reinterpret_cast<const bf16*>(x.data), rows, shape.in), matrix,
                 Epilogue{shape.kind}, Rows<bf16>(reinterpret_cast<bf16*>(y.data), rows, width));
        };
        const bench::Measured ours = stopwatch.measure([&] { product(w); });
        const double activations = 2.0 * rows * (shape.in + width * (shape.kind == EpilogueKind::add ? 2 : 1));
        table.row(std::string(name_of(format)) + (order == Order::fastest ? ", fastest, " : ", ") + shape.name + ", " +
                      std::to_string(rows),
                  {.bytes = double(w.memory().bytes) + activations, .flops = 2.0 * rows * shape.out * shape.in}, ours);
        table.peer("bf16", ours, stopwatch.measure([&] { product(scalars); }));
      }
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_formats", run); }
