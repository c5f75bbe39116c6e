// Matrix products of InternVL3.5-1B, weights in bf16 or in another format, each beside its ceiling, which is sampled in
// turns with it: many rows beside arithmetic alone, few rows beside reading memory, where the bytes are those of placed
// weights.
//
//   bench_gemm [--threads N] [--only PART_OF_A_NAME] [--format NAME] [--numbers exact|int8] [--json]
#include <cstdio>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "bench/ceilings.hpp"
#include "bench/options.hpp"
#include "ivl/cpu/linear.hpp"
#include "ivl/cpu/panel_choice.hpp"
#include "ivl/cpu/place.hpp"

namespace {

using namespace ivl;

struct Product {
  const char* name;
  int rows, in, out;
  EpilogueKind epilogue = EpilogueKind::store;
};

constexpr Product products[] = {
    {"vision_qkv", 1025, 1024, 3072},
    {"vision_proj", 1025, 1024, 1024, EpilogueKind::add},
    {"vision_fc1", 1025, 1024, 4096, EpilogueKind::gelu},
    {"vision_fc2", 1025, 4096, 1024, EpilogueKind::add},
    {"prefill_qkv", 512, 1024, 4096},
    {"prefill_o", 512, 2048, 1024, EpilogueKind::add},
    {"prefill_gate_up", 512, 1024, 6144, EpilogueKind::swi_glu},
    {"prefill_down", 512, 3072, 1024, EpilogueKind::add},
    {"decode_qkv", 1, 1024, 4096},
    {"decode_o", 1, 2048, 1024, EpilogueKind::add},
    {"decode_gate_up", 1, 1024, 6144, EpilogueKind::swi_glu},
    {"decode_down", 1, 3072, 1024, EpilogueKind::add},
    {"decode_4_gate_up", 4, 1024, 6144, EpilogueKind::swi_glu},
    {"decode_8_gate_up", 8, 1024, 6144, EpilogueKind::swi_glu},
    {"decode_12_gate_up", 12, 1024, 6144, EpilogueKind::swi_glu},
    {"decode_16_gate_up", 16, 1024, 6144, EpilogueKind::swi_glu},
    {"head", 1, 1024, 151936},
};

constexpr int samples = 15;

struct Result {
  double median, ceiling;
  const char* unit;
};

std::vector<bf16> random_values(std::int64_t number) {
  std::vector<bf16> values(static_cast<std::size_t>(number));
  std::uint32_t state = 1;
  for (bf16& value : values) {
    state = state * 1664525 + 1013904223;
    value = round_to<bf16>(float(std::int32_t(state)) * 0x1p-31f);
  }
  return values;
}

/// A matrix of one plane in any format: bf16 between -1 and 1, or any bytes that hold no half that is infinite.
std::vector<std::byte> random_matrix(Format format, std::int64_t out, std::int64_t in) {
  std::vector<std::byte> bytes(std::size_t(packed_planes(format, out, in).total));
  if (format == Format::bf16) {
    const std::vector<bf16> values = random_values(out * in);
    std::memcpy(bytes.data(), values.data(), bytes.size());
  } else {
    std::uint32_t state = 1;
    for (std::byte& byte : bytes) byte = std::byte((state = state * 1664525 + 1013904223) >> 24 & 0x7b);
  }
  return bytes;
}

Result measure(cpu::Context& ctx, bench::ReadCeiling& reads, const Product& product, Format format) {
  const bool gated = product.epilogue == EpilogueKind::swi_glu, few = product.rows <= 16;
  const int width = gated ? product.out / 2 : product.out;
  const std::vector<std::byte> bytes = random_matrix(format, product.out, product.in);
  const SourceMatrix whole = source_matrix(format, product.out, product.in, {bytes});
  const SourceMatrix parts[] = {whole.outputs(0, product.out / 2), whole.outputs(product.out / 2, product.out / 2)};
  // One row after the other meets weights that are no longer in any cache, as in a model.
  std::vector<PlacedMatrix> weights;
  double placed_bytes = 0;
  do {
    weights.push_back(place_matrix(ctx, gated ? std::span(parts) : std::span(&whole, 1),
                                   gated ? Fusion::interleaved : Fusion::stacked));
    for (const Strip& strip : weights.back().strips) placed_bytes += double(strip.bytes);
  } while (few && placed_bytes < 768 << 20);
  const std::vector<bf16> x = random_values(std::int64_t(product.rows) * product.in);
  std::vector<bf16> y(std::size_t(product.rows) * std::size_t(width), bf16{0});
  const auto all = [&] {
    for (const PlacedMatrix& w : weights) {
      linear(ctx, Rows<const bf16>(x.data(), product.rows, product.in), w, Epilogue{product.epilogue, nullptr, nullptr},
             Rows<bf16>(y.data(), product.rows, width));
    }
  };
  const double work = few ? placed_bytes : 2.0 * product.rows * double(product.in) * double(product.out);
  std::vector<double> speeds, ceilings;
  all();
  for (int sample = 0; sample < samples; ++sample) {
    ceilings.push_back(few ? reads.sample() : bench::arithmetic_sample(ctx));
    speeds.push_back(work / bench::seconds_of(all));
  }
  return {bench::median(speeds) * 1e-9, bench::median(ceilings) * 1e-9, few ? "GB/s" : "GFLOP/s"};
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options;
  CLI::App app("Matrix products of the models, part by part, on the CPU");
  options.add_to(app);
  options.add_numbers_to(app);
  std::string format_name = "bf16";
  app.add_option("--format", format_name, "of the weights, one that is a single plane, such as q4_k")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::optional<Format> format;
  for (std::size_t i = 0; i < format_count; ++i) {
    const bool one_plane = with_format(Format(i), [](auto tag) { return std::size(decltype(tag)::planes) == 1; });
    if (one_plane && name_of(Format(i)) == format_name) format = Format(i);
  }
  if (!format) {
    std::fprintf(stderr, "--format %s: expected a format of one plane such as q4_k\n", format_name.c_str());
    return 2;
  }
  cpu::Context ctx(options.threads, options.numbers);
  bench::ReadCeiling reads(ctx);
  const bool as_int8 = options.numbers == cpu::Numbers::int8;
  if (as_int8 && !cpu::detail::takes_int8(cpu::detail::int8_panels_for(*format))) {
    std::fprintf(stderr, "--numbers int8: expected a format that has such products, found %s\n", format_name.c_str());
    return 2;
  }
  if (!options.json) {
    std::printf("%s, %d threads%s; ceilings: reading memory, %s\n%-18s %5s %6s %6s %10s %10s  %s\n",
                name_of(ctx.level()).data(), ctx.threads(), as_int8 ? ", products in int8" : "",
                bench::arithmetic_name(), "product", "rows", "in", "out", "median", "ceiling", "share");
  }
  for (const Product& product : products) {
    if (!options.wanted(product.name)) continue;
    const Result result = measure(ctx, reads, product, *format);
    if (options.json) {
      std::printf("{\"name\": \"gemm_%s\", \"median\": %.1f, \"unit\": \"%s\", \"ceiling\": %.1f, \"share\": %.3f}\n",
                  product.name, result.median, result.unit, result.ceiling, result.median / result.ceiling);
    } else {
      std::printf("%-18s %5d %6d %6d %10.1f %10.1f  %4.0f %% (%s)\n", product.name, product.rows, product.in,
                  product.out, result.median, result.ceiling, 100 * result.median / result.ceiling, result.unit);
    }
    std::fflush(stdout);
  }
}
