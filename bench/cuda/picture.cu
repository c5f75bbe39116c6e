// bench_cuda_picture: a picture to the patches that the tower embeds, as the engine asks for it, what the host does
// for it included; beside it the upload of its bytes, which all the rest must not take longer than; and the patches
// alone.
#include <string>
#include <utility>
#include <vector>

#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/picture/picture.cuh"

namespace {

using namespace ivl;

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  using Bound = bench::Table::Bound;
  const bench::Table table(ctx, ceilings, "picture");
  constexpr int tile_px = 448, patch_px = 14, columns = 4, rows = 3, tiles = columns * rows + 1;
  constexpr double tile_bytes = 3.0 * tile_px * tile_px, patch_bytes = sizeof(bf16) * tiles * tile_bytes;
  const TileRules rules;
  const PixelStatistics statistics;
  const Memory patches = allocate(ctx, std::size_t(patch_bytes));
  const Rows<bf16> unfolded(reinterpret_cast<bf16*>(patches.data), tiles * 1024, 588);

  for (const auto& [width, height] : {std::pair{2400, 1800}, {4000, 3000}}) {
    const double picture_bytes = 3.0 * width * height, between_bytes = 3.0 * height * (columns + 1) * tile_px;
    Image picture{width, height, std::vector<std::uint8_t>(std::size_t(picture_bytes))};
    for (std::size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = std::uint8_t((i + 1) * 2654435761u >> 24);
    const std::string size = std::to_string(width) + " x " + std::to_string(height);
    const Memory there = allocate(ctx, picture.rgb.size());
    table.row("upload of " + size, {.bytes = picture_bytes},
              stopwatch.measure([&] { upload(ctx, there.data, picture.rgb.data(), picture.rgb.size()); }));
    // The picture is written by its upload and read for the grid and for the thumbnail.
    table.row(
        "unfold_picture " + size + " to 13 tiles of patches",
        {.bytes = 3 * picture_bytes + 2 * between_bytes + 2 * tiles * tile_bytes + patch_bytes},
        stopwatch.measure([&] { unfold_picture(ctx, Picture::view(picture, rules), statistics, patch_px, unfolded); }),
        Bound::copy);
  }

  const Memory levels = bench::filled(ctx, std::size_t(tiles * tile_bytes));
  table.row("unfold_pixels, 13 tiles", {.bytes = tiles * tile_bytes + patch_bytes}, stopwatch.measure([&] {
    unfold_pixels(ctx, tile_px, patch_px, statistics, reinterpret_cast<const std::uint8_t*>(levels.data), tiles,
                  unfolded);
  }),
            Bound::copy);
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_picture", run); }
