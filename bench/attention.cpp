// Attention of InternVL3.5-1B's language model and of both vision towers in bf16, each beside its ceiling, which is
// sampled in turns with it: many rows beside arithmetic alone, one row beside reading memory; and what goes before it,
// rotary angles and the cache, as plain times.
//
//   bench_attention [--threads N] [--only NAME] [--json]
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/ceilings.hpp"
#include "bench/options.hpp"
#include "ivl/cpu/attention.hpp"
#include "ivl/cpu/rope.hpp"

namespace {

using namespace ivl;

enum class Op { attention, rotate_and_cache, cache_keys, rope_angles };

struct Case {
  const char* name;
  AttentionShape shape;
  Mask mask;
  int rows, keys, page_tokens;
  Op op = Op::attention;
};

constexpr AttentionShape language{16, 8, 128}, vision_300m{16, 16, 64}, vision_6b{25, 25, 128};

constexpr Case cases[] = {
    {"vision_300m", vision_300m, Mask::full, 1025, 1025, 1040},
    {"vision_6b", vision_6b, Mask::full, 1025, 1025, 1040},
    {"prefill_512", language, Mask::causal, 512, 512, 64},
    {"prefill_2048", language, Mask::causal, 2048, 2048, 64},
    {"decode_1", language, Mask::causal, 1, 1, 64},
    {"decode_512", language, Mask::causal, 1, 512, 64},
    {"decode_4096", language, Mask::causal, 1, 4096, 64},
    {"decode_16384", language, Mask::causal, 1, 16384, 64},
    {"vision_300m_cache", vision_300m, Mask::full, 1025, 1025, 1040, Op::cache_keys},
    {"prefill_512_rotate_cache", language, Mask::causal, 512, 512, 64, Op::rotate_and_cache},
    {"decode_512_rotate_cache", language, Mask::causal, 1, 512, 64, Op::rotate_and_cache},
    {"prefill_512_angles", language, Mask::causal, 512, 512, 64, Op::rope_angles},
    {"decode_512_angles", language, Mask::causal, 1, 512, 64, Op::rope_angles},
};

constexpr int samples = 15;

struct Result {
  double microseconds;             ///< median of one call
  double median = 0, ceiling = 0;  ///< in `unit`; no ceiling for a plain time
  const char* unit = "us";
};

Result measure(cpu::Context& ctx, bench::ReadCeiling& reads, const Case& c) {
  const std::int64_t width = c.shape.qkv_width(), y_width = c.shape.query_width();
  const int pages = int(ceil_div(c.keys, c.page_tokens));
  const std::int64_t page_bytes = kv_page_bytes(ctx, c.shape, ScalarKind::bf16, c.page_tokens);
  // One step after the other meets keys that are no longer in any cache, as the layers of a model do.
  const bool one_row = c.rows == 1;
  const int layers = one_row ? int(std::max<std::int64_t>(1, (std::int64_t(768) << 20) / (pages * page_bytes))) : 1;
  const Buffer memory(std::size_t(layers * pages * page_bytes));
  std::vector<bf16> qkv(std::size_t(c.keys * width)), y(std::size_t(c.rows * y_width), bf16{0});
  std::uint32_t state = 1;
  for (bf16& x : qkv) {
    state = state * 1664525 + 1013904223;
    x = round_to<bf16>(float(std::int32_t(state)) * 0x1p-31f);
  }
  std::vector<std::int32_t> table, sequence_of(std::size_t(c.keys), 0), positions;
  for (int page = 0; page < pages; ++page) table.push_back(page);
  const auto layer = [&](int i) {
    return KvView{memory.data() + i * pages * page_bytes, page_bytes, c.page_tokens, table.data(), pages};
  };
  for (int row = 0; row < c.keys; ++row) positions.push_back(row);
  const std::int32_t all_rows[] = {0, c.keys}, rows[] = {0, c.rows}, length[] = {c.keys};
  const Batch fill{.rows = c.keys,
                   .sequences = 1,
                   .row_begin = all_rows,
                   .kv_length = length,
                   .sequence_of = sequence_of.data(),
                   .positions = positions.data(),
                   .longest = c.keys};
  Batch batch = fill;
  batch.rows = c.rows;
  batch.row_begin = rows;
  batch.positions = positions.data() + c.keys - c.rows;
  for (int i = 0; i < layers; ++i)
    cache_keys(ctx, c.shape, Rows<const bf16>(qkv.data(), c.keys, width), fill, layer(i));

  std::vector<float> angles(std::size_t(c.rows * c.shape.head_dim)), gain(std::size_t(c.shape.head_dim), 1.0f);
  const Rows<float> angle_rows(angles.data(), c.rows, c.shape.head_dim);
  const auto call = [&](int i) {
    switch (c.op) {
      case Op::attention:
        return attention(ctx, c.shape, c.mask, nullptr, Rows<const bf16>(qkv.data(), c.rows, y_width, width), batch,
                         layer(i), Rows<bf16>(y.data(), c.rows, y_width));
      case Op::rotate_and_cache:
        return rotate_and_cache(ctx, c.shape, HeadNorm{gain.data(), gain.data(), 1e-6f}, Rows<const float>(angle_rows),
                                Rows<bf16>(qkv.data(), c.rows, width), batch, layer(i));
      case Op::cache_keys:
        return cache_keys(ctx, c.shape, Rows<const bf16>(qkv.data(), c.rows, width), batch, layer(i));
      case Op::rope_angles:
        return rope_angles(ctx, RopeFacts{.base = 1e6}, batch.positions, batch.positions, angle_rows);
    }
  };
  const auto all = [&] {
    for (int i = 0; i < layers; ++i) call(i);
  };

  // A causal row meets half the keys of its prompt, and its own.
  const double pairs = double(c.rows) * (c.mask == Mask::full ? c.keys : c.keys - (c.rows - 1) / 2.0);
  const double work = one_row ? double(layers) * c.keys * c.shape.kv_width() * 2 * sizeof(bf16)
                              : 4.0 * pairs * double(c.shape.query_width());
  std::vector<double> times, ceilings;
  all();
  for (int sample = 0; sample < samples; ++sample) {
    if (c.op == Op::attention) ceilings.push_back(one_row ? reads.sample() : bench::arithmetic_sample(ctx));
    times.push_back(bench::seconds_of(all));
  }
  const double seconds = bench::median(times);
  if (c.op != Op::attention) return {seconds / layers * 1e6, seconds / layers * 1e6};
  return {seconds / layers * 1e6, work / seconds * 1e-9, bench::median(ceilings) * 1e-9, one_row ? "GB/s" : "GFLOP/s"};
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options;
  CLI::App app("Attention and what goes with it, part by part, on the CPU");
  options.add_to(app);
  CLI11_PARSE(app, argc, argv);
  cpu::Context ctx(options.threads);
  bench::ReadCeiling reads(ctx);
  if (!options.json) {
    std::printf("%s, %d threads; ceilings: reading memory, %s\n%-25s %5s %6s %10s %10s %10s  %s\n",
                name_of(ctx.level()).data(), ctx.threads(), bench::arithmetic_name(), "case", "rows", "keys", "us",
                "median", "ceiling", "share");
  }
  for (const Case& c : cases) {
    if (!options.wanted(c.name)) continue;
    const Result result = measure(ctx, reads, c);
    if (result.ceiling == 0) {
      options.json ? std::printf("{\"name\": \"attention_%s\", \"median\": %.2f, \"unit\": \"us\"}\n", c.name,
                                 result.microseconds)
                   : std::printf("%-25s %5d %6d %10.1f\n", c.name, c.rows, c.keys, result.microseconds);
    } else if (options.json) {
      std::printf(
          "{\"name\": \"attention_%s\", \"median\": %.2f, \"unit\": \"%s\", \"ceiling\": %.2f, \"share\": %.3f}\n",
          c.name, result.median, result.unit, result.ceiling, result.median / result.ceiling);
    } else {
      std::printf("%-25s %5d %6d %10.1f %10.2f %10.2f  %4.0f %% %s\n", c.name, c.rows, c.keys, result.microseconds,
                  result.median, result.ceiling, 100 * result.median / result.ceiling, result.unit);
    }
    std::fflush(stdout);
  }
}
