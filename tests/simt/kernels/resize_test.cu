#include "ivl/cuda/resize.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "ivl/image/normalise.hpp"
#include "ivl/image/resize.hpp"
#include "ivl/image/tiles.hpp"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

struct DeviceAxis {
  DeviceArray<std::int32_t> first, begin, weights;
  cuda::ResizeAxis axis;

  DeviceAxis(int source_px, int target_px) : DeviceAxis(source_px, target_px, bicubic_axis(source_px, target_px)) {}
  DeviceAxis(int source_px, int target_px, const BicubicAxis& host)
      : first(host.first), begin(host.begin), weights(host.weights) {
    axis = {source_px, target_px, first.data(), begin.data(), weights.data()};
  }
};

Image random_picture(int width, int height) {
  std::mt19937 random{unsigned(width)};
  Image picture{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  // Blocks of black and white: sums beyond both ends, which must be clipped.
  for (std::size_t i = 0; i < picture.rgb.size(); ++i)
    picture.rgb[i] = i % 7 < 3 ? std::uint8_t(random() % 2 * 255) : std::uint8_t(random());
  return picture;
}

}  // namespace

TEST_CASE("on CUDA tiles are those of the CPU in every byte") {
  cuda::Context ctx;
  ThreadPool pool(1);
  struct Case {
    int width, height, tile_px, max_tiles;
  };
  // Smaller and larger, in one direction only, one pixel; 4 bytes at a time and, for odd tiles, one.
  for (const Case& c :
       {Case{37, 90, 12, 6}, Case{5, 3, 28, 2}, Case{200, 7, 20, 6}, Case{1, 1, 9, 1}, Case{61, 44, 15, 4}}) {
    CAPTURE(c.width);
    const TileRules rules{.tile_px = c.tile_px, .max_tiles = c.max_tiles};
    const Image picture = random_picture(c.width, c.height);
    const Tiles wanted = make_tiles(pool, picture, rules);
    const std::size_t tile_bytes = 3 * std::size_t(c.tile_px) * std::size_t(c.tile_px);
    const DeviceAxis across(c.width, wanted.grid.columns * c.tile_px), down(c.height, wanted.grid.rows * c.tile_px);
    const DeviceAxis thumbnail_across(c.width, c.tile_px), thumbnail_down(c.height, c.tile_px);
    for_each_order([&] {
      DeviceArray<std::uint8_t> device_picture(picture.rgb), tiles(wanted.pixels.size()), thumbnail(tile_bytes);
      resize_to_tiles(ctx, across.axis, down.axis, c.tile_px, device_picture.data(), tiles.data());
      resize_to_tiles(ctx, thumbnail_across.axis, thumbnail_down.axis, c.tile_px, device_picture.data(),
                      thumbnail.data());
      std::vector<std::uint8_t> found = tiles.download();
      found.resize(std::size_t(wanted.grid.cells()) * tile_bytes);
      if (wanted.grid.has_thumbnail(rules)) {
        const std::vector<std::uint8_t> last = thumbnail.download();
        found.insert(found.end(), last.begin(), last.end());
      }
      CHECK(found == wanted.pixels);
    });
  }
}

TEST_CASE_TEMPLATE("on CUDA pixels become normalised patches, with the CPU's bits", Scalar, bf16, float) {
  cuda::Context ctx;
  const PixelStatistics statistics;
  const PixelTable<Scalar> table(statistics);
  cuda::PixelScale scale;
  for (int colour = 0; colour < 3; ++colour) {
    scale.mean[colour] = statistics.mean[colour];
    scale.deviation[colour] = statistics.deviation[colour];
  }
  std::mt19937 random(1);
  for (const int patch_px : {5, 6}) {
    const int count = 2, side = 3, tile_px = side * patch_px, width = 3 * patch_px * patch_px, stride = width + 2;
    CAPTURE(patch_px);
    std::vector<std::uint8_t> levels(std::size_t(count * tile_px * tile_px * 3));
    for (std::size_t i = 0; i < levels.size(); ++i)
      levels[i] = i < 3 * 256 ? std::uint8_t(i / 3) : std::uint8_t(random());
    for_each_order([&] {
      DeviceArray<std::uint8_t> tiles(levels);
      DeviceArray<Scalar> patches(std::size_t(count * side * side * stride));
      unfold_pixels(ctx, tile_px, patch_px, scale, tiles.data(), count,
                    Rows<Scalar>(patches.data(), count * side * side, width, stride));
      const std::vector<Scalar> found = patches.download();
      int wrong = 0;
      for (int patch = 0; patch < count * side * side; ++patch) {
        const int tile = patch / (side * side), place = patch % (side * side);
        for (int i = 0; i < width; ++i) {
          const int colour = i / (patch_px * patch_px), y = place / side * patch_px + i / patch_px % patch_px;
          const int x = place % side * patch_px + i % patch_px;
          const std::uint8_t level = levels[std::size_t(((tile * tile_px + y) * tile_px + x) * 3 + colour)];
          wrong += !(to_float(found[std::size_t(patch * stride + i)]) == to_float(table(colour, level)));
        }
        for (int i = width; i < stride; ++i) wrong += !std::isnan(to_float(found[std::size_t(patch * stride + i)]));
      }
      CHECK(wrong == 0);
    });
  }
}
