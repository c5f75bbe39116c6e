// bench_cuda_resize: a photograph of 12 megapixels to 12 tiles and a thumbnail, and tiles to patches; beside it the
// upload of the photograph, which the resize must not take longer than.
#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/resize.cuh"
#include "ivl/image/resize.hpp"

namespace {

using namespace ivl;

struct DeviceAxis {
  Memory memory;
  cuda::ResizeAxis axis;

  DeviceAxis(cuda::Context& ctx, int source_px, int target_px) {
    const BicubicAxis host = bicubic_axis(source_px, target_px);
    std::vector<std::int32_t> ints(host.first.begin(), host.first.end());
    ints.insert(ints.end(), host.begin.begin(), host.begin.end());
    ints.insert(ints.end(), host.weights.begin(), host.weights.end());
    memory = allocate(ctx, ints.size() * sizeof(std::int32_t));
    upload(ctx, memory.data, ints.data(), memory.bytes);
    const auto* there = reinterpret_cast<const std::int32_t*>(memory.data);
    axis = {source_px, target_px, there, there + target_px, there + 2 * target_px + 1};
  }
};

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  using Bound = bench::Table::Bound;
  const bench::Table table(ctx, ceilings, "resize");
  constexpr int width = 4000, height = 3000, tile_px = 448, columns = 4, rows = 3, tiles = columns * rows + 1;
  constexpr double picture_bytes = 3.0 * width * height, tile_bytes = 3.0 * tile_px * tile_px;
  const Memory picture = allocate(ctx, std::size_t(picture_bytes)),
               levels = allocate(ctx, std::size_t(tiles * tile_bytes));
  const auto* from = reinterpret_cast<const std::uint8_t*>(picture.data);
  auto* to = reinterpret_cast<std::uint8_t*>(levels.data);
  const DeviceAxis across(ctx, width, columns * tile_px), down(ctx, height, rows * tile_px);
  const DeviceAxis thumbnail_across(ctx, width, tile_px), thumbnail_down(ctx, height, tile_px);

  const std::vector<std::byte> host(picture.bytes);
  table.row("upload of 4000 x 3000", {.bytes = picture_bytes},
            stopwatch.measure([&] { upload(ctx, picture.data, host.data(), host.size()); }));
  table.row("resize_to_tiles 4000 x 3000 to 4 x 3 tiles",
            {.bytes = picture_bytes + 6.0 * height * columns * tile_px + columns * rows * tile_bytes},
            stopwatch.measure([&] { resize_to_tiles(ctx, across.axis, down.axis, tile_px, from, to); }), Bound::copy);
  table.row("resize_to_tiles 4000 x 3000 to the thumbnail",
            {.bytes = picture_bytes + 6.0 * height * tile_px + tile_bytes}, stopwatch.measure([&] {
              resize_to_tiles(ctx, thumbnail_across.axis, thumbnail_down.axis, tile_px, from,
                              to + std::int64_t(tile_bytes) * (tiles - 1));
            }),
            Bound::copy);

  const cuda::PixelScale scale{{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  const Memory patches = allocate(ctx, std::size_t(tiles * tile_bytes) * sizeof(bf16));
  const Rows<bf16> unfolded(reinterpret_cast<bf16*>(patches.data), tiles * 1024, 588);
  table.row("unfold_pixels, 13 tiles", {.bytes = 3 * tiles * tile_bytes},
            stopwatch.measure([&] { unfold_pixels(ctx, tile_px, 14, scale, to, tiles, unfolded); }), Bound::copy);
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_resize", run); }
