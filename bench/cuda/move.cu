// bench_cuda_move: the ops of move.cuh at the sizes of the 8B checkpoint, for a prefill chunk and for 13 tiles.
#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/rows/move.cuh"

namespace {

using namespace ivl;

struct Buffers {
  Memory memory;

  Buffers(cuda::Context& ctx, std::int64_t rows, std::int64_t width)
      : memory(allocate(ctx, std::size_t(rows * width) * sizeof(bf16))) {}
  Rows<bf16> rows(std::int64_t count, std::int64_t width) const {
    return {reinterpret_cast<bf16*>(memory.data), count, width};
  }
};

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  using Bound = bench::Table::Bound;
  const bench::Table table(ctx, ceilings, "move, bf16");

  constexpr int hidden = 4096, vocabulary = 151936;
  const Buffers words(ctx, vocabulary, hidden), pictures(ctx, 2048, hidden), embedded(ctx, 2048, hidden);
  const PlacedTable words_table{Format::bf16, vocabulary, hidden, words.memory};
  std::vector<std::int32_t> sources;
  for (int row = 0; row < 2048; ++row) sources.push_back(row % 8 == 0 ? row * 7919 % vocabulary : -1 - row);
  const Memory indices = allocate(ctx, sources.size() * sizeof(std::int32_t));
  upload(ctx, indices.data, sources.data(), indices.bytes);
  const auto* sources_there = reinterpret_cast<const std::int32_t*>(indices.data);
  for (const int rows : {1, 512, 2048}) {
    table.row("embed " + std::to_string(rows) + " x 4096", {.bytes = 4.0 * rows * hidden}, stopwatch.measure([&] {
      embed(ctx, sources_there, words_table, Rows<const bf16>(pictures.rows(2048, hidden)),
            embedded.rows(rows, hidden));
    }),
              Bound::copy);
  }

  constexpr int tiles = 13, side = 32, patches = tiles * side * side, width = 1024, tile_px = 448;
  const Buffers pixels(ctx, tiles, 3 * tile_px * tile_px), unfolded(ctx, patches, 588),
      features(ctx, patches + tiles, width), other(ctx, patches, width);
  const Memory positions = allocate(ctx, (2 + side * side) * width * sizeof(float));
  const auto* floats = reinterpret_cast<const float*>(positions.data);
  table.row("unfold_patches, 13 tiles of 448", {.bytes = 4.0 * patches * 588}, stopwatch.measure([&] {
    unfold_patches(ctx, tile_px, 14, Rows<const bf16>(pixels.rows(tiles, 3 * tile_px * tile_px)),
                   unfolded.rows(patches, 588));
  }),
            Bound::copy);
  table.row("add_positions, 13 x 1025 x 1024", {.bytes = 4.0 * patches * width + 4.0 * (2 + side * side) * width},
            stopwatch.measure([&] {
              add_positions(ctx, side, Rows<const bf16>(other.rows(patches, width)), floats, floats + width,
                            features.rows(patches + tiles, width));
            }),
            Bound::copy);
  table.row("pixel_shuffle, 13 x 1024 x 1024", {.bytes = 4.0 * patches * width}, stopwatch.measure([&] {
    pixel_shuffle(ctx, side, 2, ShuffleOrder::v2, Rows<const bf16>(features.rows(patches + tiles, width)),
                  other.rows(patches / 4, 4 * width));
  }),
            Bound::copy);
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_move", run); }
