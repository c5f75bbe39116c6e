// bench_cuda_rope: the angles of a step, and the norm, rotation and KV write of a layer of the 8B checkpoint.
#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/attention/kv_write.cuh"
#include "ivl/cuda/rows/rope.cuh"

namespace {

using namespace ivl;

constexpr AttentionShape shape{.heads = 32, .kv_heads = 8, .head_dim = 128};
constexpr int page_tokens = 64, most_rows = 2048;

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  using Bound = bench::Table::Bound;
  const bench::Table table(ctx, ceilings, "rope, bf16");

  // One sequence whose newest `rows` tokens are in the step; its pages lie in order.
  std::vector<std::int32_t> ints;
  for (int row = 0; row < most_rows; ++row) ints.push_back(row);  // positions, and page numbers
  ints.insert(ints.end(), most_rows, 0);                          // sequence_of
  ints.insert(ints.end(), most_rows, most_rows);                  // rope lengths, kv_length
  const Memory tables = allocate(ctx, ints.size() * sizeof(std::int32_t));
  upload(ctx, tables.data, ints.data(), tables.bytes);
  const auto* positions = reinterpret_cast<const std::int32_t*>(tables.data);

  const Memory qkv = allocate(ctx, std::size_t(most_rows) * shape.qkv_width() * sizeof(bf16));
  const Memory angles = allocate(ctx, std::size_t(most_rows) * shape.head_dim * sizeof(float));
  const Memory gains = allocate(ctx, 2 * shape.head_dim * sizeof(float));
  const std::int64_t page_bytes = kv_page_bytes(ctx, shape, ScalarKind::bf16, page_tokens);
  const Memory pages = allocate(ctx, std::size_t(page_bytes * (most_rows / page_tokens)));
  const KvView kv{pages.data, page_bytes, page_tokens, positions, most_rows / page_tokens};
  const auto* gain = reinterpret_cast<const float*>(gains.data);

  for (const int rows : {1, 32, 512, 2048}) {
    Batch batch;
    batch.rows = rows;
    batch.sequences = 1;
    batch.positions = positions;
    batch.sequence_of = positions + most_rows;
    const Rows<float> to(reinterpret_cast<float*>(angles.data), rows, shape.head_dim);
    const Rows<bf16> x(reinterpret_cast<bf16*>(qkv.data), rows, shape.qkv_width());
    const std::string size = std::to_string(rows) + " rows";
    table.row("rope_angles, " + size, {.bytes = 4.0 * rows * shape.head_dim},
              stopwatch.measure([&] { rope_angles(ctx, {.base = 1e6}, positions, positions + 2 * most_rows, to); }),
              Bound::copy);
    table.row("rotate_and_cache, " + size, {.bytes = 4.0 * rows * (shape.qkv_width() + shape.head_dim)},
              stopwatch.measure([&] {
                rotate_and_cache(ctx, shape, {gain, gain + shape.head_dim, 1e-6f}, Rows<const float>(to), x, batch, kv);
              }),
              Bound::copy);
    table.row("cache_keys, " + size, {.bytes = 8.0 * rows * shape.kv_width()},
              stopwatch.measure([&] { cache_keys(ctx, shape, Rows<const bf16>(x), batch, kv); }), Bound::copy);
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_rope", run); }
