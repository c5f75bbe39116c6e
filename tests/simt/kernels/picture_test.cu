#include "ivl/cuda/picture/picture.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/image/tiles.hpp"
#include "tests/image/golden.hpp"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

Image random_picture(int width, int height) {
  std::mt19937 random{unsigned(width)};
  Image picture{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  // Blocks of black and white: sums beyond both ends, which must be clipped.
  for (std::size_t i = 0; i < picture.rgb.size(); ++i)
    picture.rgb[i] = i % 7 < 3 ? std::uint8_t(random() % 2 * 255) : std::uint8_t(random());
  return picture;
}

/// Where pixel (x, y) of a tile, in one colour, lies among its patches of so many scalars each.
std::size_t place_in_patches(int tile_px, int patch_px, int tile, int x, int y, int colour, int stride) {
  const int side = tile_px / patch_px, patch = (tile * side + y / patch_px) * side + x / patch_px;
  return std::size_t(patch * stride + (colour * patch_px + y % patch_px) * patch_px + x % patch_px);
}

/// How many scalars differ from those of the tiles' levels, or were written beside the patches.
template <class Scalar>
int wrong_scalars(const std::vector<Scalar>& found, const Tiles& tiles, int patch_px, int stride,
                  const PixelStatistics& statistics) {
  const PixelTable<Scalar> table(statistics);
  int wrong = 0;
  std::size_t numbers = 0;
  for (const Scalar value : found) numbers += !std::isnan(to_float(value));
  wrong += numbers != tiles.pixels.size();
  for (int tile = 0; tile < tiles.count; ++tile) {
    for (int y = 0; y < tiles.tile_px; ++y) {
      for (int i = 0; i < 3 * tiles.tile_px; ++i) {
        const std::size_t at = place_in_patches(tiles.tile_px, patch_px, tile, i / 3, y, i % 3, stride);
        wrong += !(to_float(found[at]) == to_float(table(i % 3, tiles.row(tile, y)[i])));
      }
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE_TEMPLATE("on CUDA a picture's patches are the CPU's, bit by bit", Scalar, bf16, float) {
  cuda::Context ctx;
  ThreadPool pool(1);
  struct Case {
    int width, height, tile_px, patch_px, max_tiles;
  };
  // Smaller and larger, in one direction only, one pixel; 4 bytes at a time and, for odd tiles, one; odd patches.
  for (const Case& c : {Case{37, 90, 12, 4, 6}, Case{5, 3, 28, 14, 2}, Case{200, 7, 20, 5, 6}, Case{1, 1, 9, 3, 1},
                        Case{61, 44, 15, 5, 4}}) {
    CAPTURE(c.width);
    const TileRules rules{.tile_px = c.tile_px, .max_tiles = c.max_tiles};
    const PixelStatistics statistics;
    const Image picture = random_picture(c.width, c.height);
    const Tiles wanted = make_tiles(pool, Picture::view(picture, rules));
    const int width = 3 * c.patch_px * c.patch_px, stride = width + 2, side = c.tile_px / c.patch_px;
    for_each_order([&] {
      DeviceArray<Scalar> patches(std::size_t(wanted.count * side * side * stride));
      const Rows<Scalar> rows(patches.data(), wanted.count * side * side, width, stride);
      unfold_picture(ctx, Picture::view(picture, rules), statistics, c.patch_px, rows);
      CHECK(wrong_scalars(patches.download(), wanted, c.patch_px, stride, statistics) == 0);
    });
  }
}

TEST_CASE("on CUDA a picture in many bands gives what it gives in one") {
  cuda::Context ctx;
  ThreadPool pool(1);
  constexpr cuda::PicturePolicy small_bands{.band_bytes = 1000};
  const PixelStatistics statistics;
  const TileRules rules{.tile_px = 12, .max_tiles = 4};
  // Bands of 3 rows, the last of 1, fewer than a thread makes; a band of one row, which is longer than it should be.
  for (const auto& [width, height] : {std::pair{100, 31}, {400, 30}}) {
    CAPTURE(width);
    const Image picture = random_picture(width, height);
    const Tiles wanted = make_tiles(pool, Picture::view(picture, rules));
    for_each_order([&] {
      DeviceArray<float> patches(wanted.pixels.size());
      unfold_picture<small_bands>(ctx, Picture::view(picture, rules), statistics, 6,
                                  Rows<float>(patches.data(), wanted.count * 4, 108));
      CHECK(wrong_scalars(patches.download(), wanted, 6, 108, statistics) == 0);
    });
  }
}

TEST_CASE("on CUDA the patches of drawn pictures hold Pillow's tiles, byte by byte") {
  cuda::Context ctx;
  const PixelStatistics statistics;
  const PixelTable<float> table(statistics);
  int compared = 0;
  for (const Json& golden : test::golden_pixels()["formula_images"]) {
    if (golden["width"] > 1000) continue;  // millions of pixels, slow without a GPU
    const Image picture = test::formula_image(golden["width"], golden["height"]);
    for (const Json& tiling : golden["tilings"]) {
      if (tiling["tile_px"] > 56) continue;
      CAPTURE(tiling.dump());
      const TileRules rules{.tile_px = tiling["tile_px"], .max_tiles = tiling["max_tiles"]};
      const int count = tiling["tiles"], tile_px = rules.tile_px, patch_px = 14, width = 3 * patch_px * patch_px;
      const std::size_t tile_bytes = 3 * std::size_t(tile_px) * std::size_t(tile_px);
      DeviceArray<float> patches(std::size_t(count) * tile_bytes);
      const Rows<float> rows(patches.data(), std::int64_t(count) * tile_px * tile_px / (patch_px * patch_px), width);
      unfold_picture(ctx, Picture::view(picture, rules), statistics, patch_px, rows);
      const std::vector<float> found = patches.download();
      for (int tile = 0; tile < count; ++tile) {
        std::vector<std::uint8_t> levels;
        for (int i = 0; i < int(tile_bytes); ++i) {
          const int colour = i % 3, x = i / 3 % tile_px, y = i / 3 / tile_px;
          const float value = found[place_in_patches(tile_px, patch_px, tile, x, y, colour, width)];
          int level = 0;
          while (level < 255 && table(colour, std::uint8_t(level)) < value) ++level;
          levels.push_back(std::uint8_t(level));
        }
        CHECK(test::fnv1a64(levels) == tiling["fnv1a64"][std::size_t(tile)].get<std::string>());
        ++compared;
      }
    }
  }
  CHECK(compared >= 15);
}

TEST_CASE_TEMPLATE("on CUDA every level of every colour becomes what it becomes on the CPU, bit by bit", Scalar, bf16,
                   float) {
  cuda::Context ctx;
  const int tile_px = 16, patch_px = 8, width = 3 * patch_px * patch_px;
  Tiles tiles{tile_px, 1, {}, {}};
  for (int i = 0; i < 3 * 256; ++i) tiles.pixels.push_back(std::uint8_t(i / 3));
  // The usual ones; ones whose reciprocals are floats; ones near what division may underflow or overflow.
  for (const PixelStatistics& statistics :
       {PixelStatistics{}, {{0.5f, 0.5f, 0.5f}, {0.5f, 0.25f, 1}}, {{0.1f, 0.9f, -3}, {1e-30f, 7e5f, 0.333f}}}) {
    CAPTURE(statistics.mean[0]);
    for_each_order([&] {
      DeviceArray<std::uint8_t> levels(tiles.pixels);
      DeviceArray<Scalar> patches(tiles.pixels.size());
      unfold_pixels(ctx, tile_px, patch_px, statistics, levels.data(), 1, Rows<Scalar>(patches.data(), 4, width));
      CHECK(wrong_scalars(patches.download(), tiles, patch_px, width, statistics) == 0);
    });
  }
}

TEST_CASE("on CUDA what is no picture, and statistics that mean nothing, are refused as on the CPU") {
  cuda::Context ctx;
  const Image picture = random_picture(20, 10);
  const TileRules rules{.tile_px = 8};
  const Rows<float> nowhere(nullptr, 48, 12);
  CHECK_THROWS_AS(unfold_picture(ctx, Picture({20, 10, std::vector<std::uint8_t>(599)}, rules), {}, 2, nowhere),
                  ImageError);
  CHECK_THROWS_AS(unfold_picture(ctx, Picture::view(picture, rules), {{0, 0, 0}, {1, 0, 1}}, 2, nowhere), ConfigError);
  CHECK_THROWS_AS(unfold_picture(ctx, Picture::view(picture, {.tile_px = 0}), {}, 2, nowhere), RequestError);
}

#if !defined(__CUDACC__)
TEST_CASE(
    "on CUDA a picture allocates no device memory, and rows for its features neither, once one like it was there") {
  cuda::Context ctx;
  const Picture picture(random_picture(61, 44), {.tile_px = 12, .max_tiles = 4});
  DeviceArray<float> patches(5 * 4 * 108);
  const auto encode = [&] {
    const Memory features = allocate(ctx, 1000);  // as whoever encodes pictures asks for them
    unfold_picture(ctx, picture, PixelStatistics{}, 6, Rows<float>(patches.data(), picture.tiles() * 4, 108));
  };
  encode();
  const simt::Stats before = simt::stats();
  for (int i = 0; i < 3; ++i) encode();
  CHECK(simt::stats().device_allocations == before.device_allocations);
  CHECK(simt::stats().waits == before.waits);
}
#endif
