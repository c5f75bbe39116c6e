// One layer's experts of InternVL3.5-GPT-OSS-20B-A4B in MXFP4 and of InternVL3.5-30B-A3B in bf16, beside a ceiling that
// is sampled in turns with them: few rows beside reading memory (bytes of the chosen experts alone), many beside
// arithmetic.
//
//   bench_moe [--threads N] [--only PART_OF_A_NAME] [--json]
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/ceilings.hpp"
#include "bench/options.hpp"
#include "ivl/cpu/moe.hpp"

namespace {

using namespace ivl;

struct Layer {
  const char* name;
  Format format;
  int experts, active, hidden, mlp_hidden;
  ExpertActivation activation;
  int copies;  ///< layers: together larger than any cache, so that no step meets weights of the one before
};

constexpr Layer layers[] = {
    {"20b_mxfp4", Format::mxfp4, 32, 4, 2880, 2880, ExpertActivation::clamped_swi_glu, 4},
    {"30b_bf16", Format::bf16, 128, 8, 2048, 768, ExpertActivation::swi_glu, 2},
};
constexpr int row_counts[] = {1, 2, 4, 8, 512};

constexpr int samples = 11;

std::uint32_t state = 1;
std::uint32_t next_random() { return state = state * 1664525 + 1013904223; }

struct Placed {
  PlacedExperts gate_up, down;
};

/// Experts that are all alike, as bytes: what they hold costs no time.
PlacedExperts place(cpu::Context& ctx, const Layer& layer, int out, int in, Fusion fusion) {
  if (layer.format == Format::mxfp4) {
    const std::int64_t blocks = std::int64_t(layer.experts) * out * in / mxfp4_block;
    std::vector<std::uint8_t> codes(std::size_t(blocks * mxfp4_block_bytes)), scales(std::size_t(blocks), 120);
    for (std::uint8_t& two : codes) two = std::uint8_t(next_random() >> 24);
    const auto of_each = blocks / layer.experts;
    std::vector<SourceMatrix> parts;
    for (int expert = 0; expert < layer.experts; ++expert) {
      const auto part_of = [&](const std::vector<std::uint8_t>& bytes, std::int64_t block_bytes) {
        return std::as_bytes(std::span(bytes))
            .subspan(std::size_t(expert * of_each * block_bytes), std::size_t(of_each * block_bytes));
      };
      const SourceMatrix matrix =
          source_matrix(Format::mxfp4, out, in, {part_of(codes, mxfp4_block_bytes), part_of(scales, 1)});
      if (fusion == Fusion::interleaved) {
        parts.push_back(matrix.every_other(0));
        parts.push_back(matrix.every_other(1));
      } else {
        parts.push_back(matrix);
      }
    }
    return place_experts(ctx, layer.experts, fusion, parts);
  }
  const int height = fusion == Fusion::interleaved ? out / 2 : out;
  std::vector<bf16> one(std::size_t(height) * std::size_t(in));
  for (bf16& x : one) x = round_to<bf16>(float(std::int32_t(next_random())) * 0x1p-36f);
  const SourceMatrix matrix = source_matrix(Format::bf16, height, in, {std::as_bytes(std::span(one))});
  const std::vector<SourceMatrix> parts(std::size_t(layer.experts * (out / height)), matrix);
  return place_experts(ctx, layer.experts, fusion, parts);
}

struct Result {
  double median, ceiling, tokens_per_second;
  const char* unit;
};

Result measure(cpu::Context& ctx, bench::ReadCeiling& reads, const Layer& layer, const std::vector<Placed>& placed,
               int rows) {
  const bool few = rows <= 8;
  const std::int64_t pairs = std::int64_t(rows) * layer.active;
  std::vector<bf16> x(std::size_t(rows * layer.hidden)), y, inner(std::size_t(pairs * layer.mlp_hidden));
  for (bf16& value : x) value = round_to<bf16>(float(std::int32_t(next_random())) * 0x1p-31f);
  y = x;
  const std::vector<float> bias(std::size_t(layer.experts) * std::size_t(2 * std::max(layer.mlp_hidden, layer.hidden)),
                                0.1f);
  std::vector<std::int32_t> experts(static_cast<std::size_t>(pairs));
  std::vector<float> weights(experts.size(), 0.25f);

  std::int32_t next_expert = 0;
  double bytes = 0;
  const auto step = [&] {
    for (const Placed& one : placed) {
      // Few rows: experts one after the other, so that each is met again as late as can be. Many: each row's own.
      if (few) {
        for (std::int32_t& expert : experts) expert = next_expert++ % layer.experts;
      } else {
        for (std::int64_t row = 0; row < rows; ++row) {
          const auto first = experts.begin() + row * layer.active;
          for (auto at = first; at != first + layer.active;) {
            *at = std::int32_t(next_random() >> 8) % layer.experts;
            if (std::find(first, at, *at) == at) ++at;
          }
        }
      }
      const std::int64_t chosen = std::min<std::int64_t>(pairs, layer.experts);
      bytes += double(chosen * (one.gate_up.all.strips[0].bytes + one.down.all.strips[0].bytes));
      const ExpertMlp mlp{&one.gate_up, &one.down, bias.data(), bias.data(), layer.activation};
      expert_mlp(ctx, mlp, Rows<const bf16>(x.data(), rows, layer.hidden),
                 Routes{layer.active, experts.data(), weights.data()},
                 Rows<bf16>(inner.data(), pairs, layer.mlp_hidden), Rows<bf16>(y.data(), rows, layer.hidden));
    }
  };
  const int steps = few ? std::max(1, 32 / rows) : 1;
  const auto all = [&] {
    for (int i = 0; i < steps; ++i) step();
  };
  all();
  std::vector<double> speeds, ceilings, times;
  for (int sample = 0; sample < samples; ++sample) {
    ceilings.push_back(few ? reads.sample() : bench::arithmetic_sample(ctx));
    bytes = 0;
    times.push_back(bench::seconds_of(all));
    const double flops = 6.0 * double(pairs) * layer.hidden * layer.mlp_hidden * double(placed.size()) * steps;
    speeds.push_back((few ? bytes : flops) / times.back());
  }
  return {bench::median(speeds) * 1e-9, bench::median(ceilings) * 1e-9,
          rows * steps * double(placed.size()) / bench::median(times), few ? "GB/s" : "GFLOP/s"};
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options;
  CLI::App app("Mixtures of experts, part by part, on the CPU");
  options.add_to(app);
  CLI11_PARSE(app, argc, argv);
  cpu::Context ctx(options.threads);
  bench::ReadCeiling reads(ctx);
  if (!options.json) {
    std::printf("%s, %d threads; ceilings: reading memory, %s\n%-14s %5s %14s %10s %10s  %s\n",
                name_of(ctx.level()).data(), ctx.threads(), bench::arithmetic_name(), "experts", "rows",
                "layer tokens/s", "median", "ceiling", "share");
  }
  for (const Layer& layer : layers) {
    std::vector<Placed> placed;
    for (const int rows : row_counts) {
      const std::string name = std::string(layer.name) + "_" + std::to_string(rows);
      if (!options.wanted(name)) continue;
      while (int(placed.size()) < layer.copies) {
        placed.push_back({place(ctx, layer, 2 * layer.mlp_hidden, layer.hidden, Fusion::interleaved),
                          place(ctx, layer, layer.hidden, layer.mlp_hidden, Fusion::stacked)});
      }
      const Result result = measure(ctx, reads, layer, placed, rows);
      if (options.json) {
        std::printf("{\"name\": \"moe_%s\", \"median\": %.1f, \"unit\": \"%s\", \"ceiling\": %.1f, \"share\": %.3f}\n",
                    name.c_str(), result.median, result.unit, result.ceiling, result.median / result.ceiling);
      } else {
        std::printf("%-14s %5d %14.0f %10.1f %10.1f  %4.0f %% (%s)\n", layer.name, rows, result.tokens_per_second,
                    result.median, result.ceiling, 100 * result.median / result.ceiling, result.unit);
      }
      std::fflush(stdout);
    }
  }
}
