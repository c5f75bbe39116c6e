// bench_cuda_moe: routing, and the experts of one layer, for decoding rows and for prefill.
#include "ivl/cuda/moe/moe.cuh"

#include <algorithm>
#include <string>

#include "bench/cuda/ceilings.cuh"

namespace {

using namespace ivl;

struct Layer {
  const char* name;
  int experts, active, hidden, mlp_hidden;
  Format format;
  ExpertActivation activation;
};

constexpr Layer layers[] = {
    {"Qwen3 30B-A3B, bf16", 128, 8, 2048, 768, Format::bf16, ExpertActivation::swi_glu},
    {"Qwen3 30B-A3B, Q4_K", 128, 8, 2048, 768, Format::q4_k, ExpertActivation::swi_glu},
    {"GPT-OSS 20B, bf16", 32, 4, 2880, 2880, Format::bf16, ExpertActivation::clamped_swi_glu},
    {"GPT-OSS 20B, MXFP4", 32, 4, 2880, 2880, Format::mxfp4, ExpertActivation::clamped_swi_glu},
};

PlacedExperts some_experts(ivl::cuda::Context& ctx, const Layer& layer, Fusion fusion, int out, int in) {
  PlacedExperts w;
  w.experts = layer.experts;
  const std::int64_t bytes = round_up(ivl::cuda::detail::stored_bytes(layer.format, out, in), 256);
  w.all = {layer.format, fusion, out, in,
           bench::filled(ctx, std::size_t(layer.experts * bytes),
                         layer.format == Format::mxfp4  ? bench::some_mxfp4
                         : layer.format == Format::q4_k ? bench::some_codes
                                                        : bench::some_bf16)};
  w.all.strips[0].bytes = bytes;  // of one expert
  return w;
}

void run(ivl::cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "moe");
  for (const Layer& layer : layers) {
    const PlacedExperts gate_up = some_experts(ctx, layer, Fusion::interleaved, 2 * layer.mlp_hidden, layer.hidden),
                        down = some_experts(ctx, layer, Fusion::stacked, layer.hidden, layer.mlp_hidden);
    const ExpertMlp mlp{&gate_up, &down, nullptr, nullptr, layer.activation};
    for (const int rows : {1, 4, 16, 512, 2048}) {
      const int pairs = rows * layer.active;
      const std::size_t rows_bytes = sizeof(bf16) * std::size_t(rows) * std::size_t(layer.hidden);
      const Memory x = bench::filled(ctx, rows_bytes), y = allocate(ctx, rows_bytes),
                   inner = allocate(ctx, sizeof(bf16) * std::size_t(pairs) * std::size_t(layer.mlp_hidden)),
                   chosen = allocate(ctx, 4 * std::size_t(pairs)),
                   weights = bench::filled(ctx, 4 * std::size_t(pairs), bench::some_floats),
                   logits = bench::filled(ctx, 4 * std::size_t(rows) * std::size_t(layer.experts), bench::some_floats);
      // Rows take turns over the experts, so that as many as can be are chosen.
      bench::fill_in_turns(ctx, chosen, layer.experts);
      const Routes routes{layer.active, reinterpret_cast<std::int32_t*>(chosen.data),
                          reinterpret_cast<float*>(weights.data)};
      const auto rows_of = [&](const Memory& memory, int count, int width) {
        return Rows<bf16>(reinterpret_cast<bf16*>(memory.data), count, width);
      };
      const double hit = std::min(pairs, layer.experts);
      const double moved =
          hit * double(gate_up.all.strips[0].bytes + down.all.strips[0].bytes) + 6.0 * rows * layer.hidden;
      const std::string name = std::string(layer.name) + ", " + std::to_string(rows);
      table.row(name, {.bytes = moved, .flops = 6.0 * pairs * layer.hidden * layer.mlp_hidden}, stopwatch.measure([&] {
        expert_mlp(ctx, mlp, Rows<const bf16>(rows_of(x, rows, layer.hidden)), routes,
                   rows_of(inner, pairs, layer.mlp_hidden), rows_of(y, rows, layer.hidden));
      }));
      const Routes routed{layer.active, reinterpret_cast<std::int32_t*>(inner.data),
                          reinterpret_cast<float*>(weights.data)};
      table.row("  its routes", {.bytes = 4.0 * rows * layer.experts + 8.0 * pairs, .flops = 0},
                stopwatch.measure(
                    [&] {
                      route(ctx, Rows<const float>(reinterpret_cast<const float*>(logits.data), rows, layer.experts),
                            routed);
                    },
                    bench::Cache::warm));
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_moe", run); }
