#include "ivl/cpu/picture.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/image/tiles.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;

TEST_CASE_TEMPLATE("a picture's patches are those of its tiles, normalised, with nothing written between them", Scalar,
                   float, bf16) {
  cpu::Context ctx(2);
  const PixelStatistics statistics{{0.4f, 0.5f, 0.6f}, {0.2f, 0.3f, 0.4f}};
  const PixelTable<Scalar> table(statistics);
  const int patch_px = 7, width = 3 * patch_px * patch_px, stride = width + 5;
  const TileRules rules{.tile_px = 5 * patch_px, .max_tiles = 6};
  for (const auto& [picture_width, picture_height] : {std::pair{90, 61}, {1, 40}, {35, 35}}) {
    CAPTURE(picture_width);
    const Image picture = test::formula_image(picture_width, picture_height);
    const Tiles tiles = make_tiles(ctx.pool, Picture::view(picture, rules));
    const std::int64_t patches = std::int64_t(tiles.count) * 25;
    std::vector<Scalar> found(std::size_t(patches * stride), round_to<Scalar>(std::nanf("")));
    unfold_picture(ctx, Picture::view(picture, rules), statistics, patch_px,
                   Rows<Scalar>(found.data(), patches, width, stride));
    int wrong = 0;
    for (std::int64_t i = 0; i < patches * stride; ++i) {
      const float value = to_float(found[std::size_t(i)]);
      const int patch = int(i / stride), at = int(i % stride), channel = at / (patch_px * patch_px);
      if (channel == 3) {
        wrong += !std::isnan(value);
        continue;
      }
      const int y = patch % 25 / 5 * patch_px + at / patch_px % patch_px, x = patch % 5 * patch_px + at % patch_px;
      wrong += !(value == to_float(table(channel, tiles.row(patch / 25, y)[3 * x + channel])));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("combined pictures are their parts behind one another, with a key of their own") {
  cpu::Context ctx(1);
  const TileRules rules{.tile_px = 8, .max_tiles = 6};
  const auto picture = [&](int width, int height, const TileRules& cut) {
    return Picture(test::formula_image(width, height), cut);
  };
  const Picture first = picture(20, 10, rules), second = picture(8, 30, {.tile_px = 8, .max_tiles = 2});
  const Picture both = Picture::combined({first, second}), all = Picture::combined({both, first});
  CHECK(both.tiles() == first.tiles() + second.tiles());
  CHECK(all.tiles() == both.tiles() + first.tiles());
  REQUIRE(all.parts().size() == 3);  // flat
  CHECK(first.parts().empty());
  CHECK(both.image() == nullptr);

  const auto patches = [&](const Picture& seen) {
    std::vector<float> values(std::size_t(seen.tiles()) * 16 * 12);
    unfold_picture<2>(ctx, seen, {}, Rows<float, 12>(values.data(), seen.tiles() * 16));
    return values;
  };
  std::vector<float> expected;
  for (const Picture& part : {first, second, first}) {
    const std::vector<float> values = patches(part);
    expected.insert(expected.end(), values.begin(), values.end());
  }
  CHECK(patches(all) == expected);

  CHECK(key_of(both) == key_of(Picture::combined({first, second})));
  CHECK(key_of(both) != key_of(Picture::combined({second, first})));
  CHECK(key_of(Picture::combined({first})) != key_of(first));

  using ivl::test::error_of;
  CHECK(error_of<RequestError>([&] { Picture::combined({}); }) ==
        "combined pictures: expected at least one, found none");
  CHECK(error_of<RequestError>([&] {
          Picture::combined({first, picture(20, 10, {.tile_px = 9})});
        }) == "combined pictures: expected tiles of one size, found 8 and 9 pixels");
  CHECK(error_of<RequestError>([&] {
          Picture::combined({Picture::from_pixel_values(std::vector<float>(3 * 8 * 8), 8)});
        }) == "combined pictures: expected images, found pixel values; concatenate these");
  CHECK(error_of<RequestError>([&] { make_tiles(ctx.pool, both); }) ==
        "tiles: expected a picture with an image of its own, found none");
}

TEST_CASE("patches for which there are too many or too few rows, and pictures that are none, are refused") {
  cpu::Context ctx(1);
  std::vector<float> memory(1000);
  const auto unfold = [&](const Image& picture, const TileRules& rules, std::int64_t patches,
                          const PixelStatistics& statistics = {}) {
    unfold_picture<2>(ctx, Picture::view(picture, rules), statistics, Rows<float, 12>(memory.data(), patches));
  };
  const Image picture = test::formula_image(20, 10);  // two tiles and the thumbnail
  unfold(picture, {.tile_px = 8}, 48);
  CHECK_THROWS_WITH_AS(unfold(picture, {.tile_px = 8}, 32),
                       "patches: expected rows for 3 tiles of 8 x 8 pixels in whole patches of 2 x 2, found 32",
                       RequestError);
  CHECK_THROWS_WITH_AS(unfold(picture, {.tile_px = 9}, 48),
                       "patches: expected rows for 3 tiles of 9 x 9 pixels in whole patches of 2 x 2, found 48",
                       RequestError);
  CHECK_THROWS_AS(unfold(picture, {.tile_px = 0}, 48), RequestError);
  CHECK_THROWS_AS(unfold({20, 10, std::vector<std::uint8_t>(599)}, {.tile_px = 8}, 48), ImageError);
  CHECK_THROWS_AS(unfold(picture, {.tile_px = 8}, 48, {{0, 0, 0}, {1, 0, 1}}), ConfigError);
}

}  // namespace
