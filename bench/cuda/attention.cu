// bench_cuda_attention: pictures, prompts and decoding steps of the checkpoints; keys and values come from memory that
// no cache holds, as between the layers of a model.
#include "ivl/cuda/attention/attention.cuh"

#include <algorithm>
#include <numeric>

#include "bench/cuda/ceilings.cuh"

namespace {

using namespace ivl;

struct Case {
  const char* name;
  AttentionShape shape;
  Mask mask;
  int sequences, rows, keys;  // rows and keys of each sequence
  bool sinks = false;
};

constexpr AttentionShape tower_300m{16, 16, 64}, tower_6b{25, 25, 128};
constexpr AttentionShape qwen2_05b{14, 2, 64}, qwen3_06b{16, 8, 128}, qwen3_8b{32, 8, 128};
constexpr AttentionShape gpt_oss{64, 8, 64}, gpt_oss_window{64, 8, 64, 128};

constexpr Case cases[] = {
    {"300M tower, 1 tile", tower_300m, Mask::full, 1, 1025, 1025},
    {"300M tower, 12 tiles", tower_300m, Mask::full, 12, 1025, 1025},
    {"6B tower, 12 tiles", tower_6b, Mask::full, 12, 1025, 1025},
    {"InternVL3-1B prompt", qwen2_05b, Mask::causal, 1, 2048, 2048},
    {"1B prompt", qwen3_06b, Mask::causal, 1, 2048, 2048},
    {"8B prompt", qwen3_8b, Mask::causal, 1, 2048, 2048},
    {"8B prompt's last chunk", qwen3_8b, Mask::causal, 1, 512, 8192},
    {"20B prompt, window", gpt_oss_window, Mask::causal, 1, 2048, 2048, true},
    {"InternVL3-1B decode", qwen2_05b, Mask::causal, 1, 1, 2048},
    {"1B decode", qwen3_06b, Mask::causal, 1, 1, 2048},
    {"8B decode", qwen3_8b, Mask::causal, 1, 1, 2048},
    {"8B decode", qwen3_8b, Mask::causal, 1, 1, 32768},
    {"InternVL3-1B decode", qwen2_05b, Mask::causal, 32, 1, 2048},
    {"1B decode", qwen3_06b, Mask::causal, 32, 1, 2048},
    {"8B decode", qwen3_8b, Mask::causal, 8, 1, 2048},
    {"8B decode", qwen3_8b, Mask::causal, 32, 1, 2048},
    {"8B decode", qwen3_8b, Mask::causal, 32, 1, 8192},
    {"20B decode", gpt_oss, Mask::causal, 32, 1, 2048, true},
    {"20B decode, window", gpt_oss_window, Mask::causal, 32, 1, 2048, true},
};

void run_case(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Table& table, const Case& c) {
  const int page_tokens = c.mask == Mask::full ? int(round_up(c.keys, kv_page_unit)) : 64;
  const int pages = int(ceil_div(c.keys, page_tokens)), rows = c.sequences * c.rows, width = c.shape.query_width();
  const std::int64_t page_bytes = kv_page_bytes(ctx, c.shape, ScalarKind::bf16, page_tokens);
  const std::size_t rows_bytes = std::size_t(rows) * std::size_t(width) * sizeof(bf16);
  const Memory cache = bench::filled(ctx, std::size_t(page_bytes * pages * c.sequences)),
               queries = bench::filled(ctx, rows_bytes), y = allocate(ctx, rows_bytes),
               sinks = allocate(ctx, std::size_t(c.shape.heads) * 4);
  cuda::check(cudaMemsetAsync(sinks.data, 0, sinks.bytes, ctx.stream));

  std::vector<std::int32_t> ints;
  Batch batch{.rows = rows, .sequences = c.sequences, .longest = c.keys};
  for (int s = 0; s <= c.sequences; ++s) ints.push_back(s * c.rows);
  for (int s = 0; s < c.sequences; ++s) ints.push_back(c.keys);
  for (int row = 0; row < rows; ++row) ints.push_back(row / c.rows);
  for (int row = 0; row < rows; ++row) ints.push_back(c.keys - c.rows + row % c.rows);
  ints.resize(ints.size() + std::size_t(c.sequences * pages));
  std::iota(ints.end() - c.sequences * pages, ints.end(), 0);
  const Memory tables = allocate(ctx, ints.size() * sizeof(std::int32_t));
  upload(ctx, tables.data, ints.data(), tables.bytes);
  batch.row_begin = reinterpret_cast<const std::int32_t*>(tables.data);
  batch.kv_length = batch.row_begin + c.sequences + 1;
  batch.sequence_of = batch.kv_length + c.sequences;
  batch.positions = batch.sequence_of + rows;

  double pairs = 0;  // of a row and a key that it sees
  for (int row = 0; row < c.rows; ++row) {
    const int seen = c.mask == Mask::full ? c.keys : c.keys - c.rows + row + 1;
    pairs += c.sequences * double(c.shape.window > 0 ? std::min(seen, c.shape.window) : seen);
  }
  const int kept = c.shape.window > 0 ? std::min(c.keys, c.shape.window + c.rows - 1) : c.keys;
  const bench::Work work{.bytes = 2.0 * (2.0 * c.sequences * kept * c.shape.kv_width() + 2.0 * rows * width),
                         .flops = 4 * pairs * width};
  const KvView kv{cache.data, page_bytes, page_tokens, batch.positions + rows, pages};
  table.row(std::string(c.name) + ", " + std::to_string(c.sequences) + " x " + std::to_string(c.rows) + " of " +
                std::to_string(c.keys),
            work, stopwatch.measure([&] {
              attention(ctx, c.shape, c.mask, c.sinks ? reinterpret_cast<const float*>(sinks.data) : nullptr,
                        Rows<const bf16>(reinterpret_cast<const bf16*>(queries.data), rows, width), batch, kv,
                        Rows<bf16>(reinterpret_cast<bf16*>(y.data), rows, width));
            }));
}

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "attention, bf16");
  for (const Case& c : cases) run_case(ctx, stopwatch, table, c);
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_attention", run); }
