#include "ivl/image/tiles.hpp"

#include <doctest/doctest.h>

#include "ivl/files/safetensors.hpp"
#include "ivl/image/decode.hpp"
#include "tests/image/golden.hpp"

namespace {

using namespace ivl;

template <class Quads>
void check_tilings(ThreadPool& pool, const Image& image, const Json& tilings, const Safetensors& stored) {
  for (const Json& golden : tilings) {
    CAPTURE(golden.dump());
    const Tiles tiles =
        make_tiles<Quads>(pool, Picture::view(image, {.tile_px = golden["tile_px"], .max_tiles = golden["max_tiles"]}));
    REQUIRE(tiles.grid == TileGrid{golden["grid"][0], golden["grid"][1]});
    REQUIRE(tiles.count == golden["tiles"]);
    const std::size_t tile_bytes = std::size_t(tiles.tile_px) * std::size_t(tiles.tile_px) * 3;
    REQUIRE(tiles.pixels.size() == tile_bytes * std::size_t(tiles.count));
    if (golden.contains("tensor")) {
      const TensorView* wanted = stored.find(golden["tensor"].get<std::string>());
      REQUIRE(wanted != nullptr);
      REQUIRE(wanted->bytes.size() == tiles.pixels.size());
      for (std::size_t i = 0; i < tiles.pixels.size(); ++i)
        REQUIRE(int(tiles.pixels[i]) == std::to_integer<int>(wanted->bytes[i]));
    }
    for (std::size_t tile = 0; tile < std::size_t(tiles.count); ++tile) {
      CAPTURE(tile);
      REQUIRE(test::fnv1a64(std::span(tiles.pixels).subspan(tile * tile_bytes, tile_bytes)) ==
              golden["fnv1a64"][tile].get<std::string>());
    }
  }
}

#ifdef IVL_LIBJPEG
constexpr bool exact_jpeg = true;
#else
constexpr bool exact_jpeg = false;  // so tiles are cut from what Pillow decoded
#endif

TEST_CASE("tiles of PNG and JPEG files equal Pillow's in every byte") {
  ThreadPool pool(3);
  const Safetensors stored(test::pixels_folder / "pixels.safetensors");
  const Json& images = test::golden_pixels()["images"];
  REQUIRE(images.size() >= 60);
  for (const Json& golden : images) {
    CAPTURE(golden["file"]);
    const std::string file = !exact_jpeg && golden.contains("decoded") ? golden["decoded"] : golden["file"];
    const Image image = read_image(test::pixels_folder / file);
    REQUIRE(image.width == golden["width"]);
    REQUIRE(image.height == golden["height"]);
    REQUIRE(test::fnv1a64(image.rgb) == golden["rgb_fnv1a64"].get<std::string>());
    check_tilings<detail::BestQuads>(pool, image, golden["tilings"], stored);
  }
}

TEST_CASE_TEMPLATE_DEFINE("tiles of drawn pictures equal Pillow's in every byte", Quads, drawn_tiles) {
  ThreadPool pool(3);
  const Safetensors stored(test::pixels_folder / "pixels.safetensors");
  for (const Json& golden : test::golden_pixels()["formula_images"]) {
    check_tilings<Quads>(pool, test::formula_image(golden["width"], golden["height"]), golden["tilings"], stored);
  }
}
TEST_CASE_TEMPLATE_APPLY(drawn_tiles, test::AllQuads);

TEST_CASE("tiles do not depend on the number of threads") {
  const Image image = test::formula_image(1111, 777);
  ThreadPool one(1);
  const Tiles wanted = make_tiles(one, Picture::view(image, {.tile_px = 57}));
  for (int threads : {2, 3, 5}) {
    ThreadPool pool(threads);
    CHECK(make_tiles(pool, Picture::view(image, {.tile_px = 57})).pixels == wanted.pixels);
  }
}

TEST_CASE("tiles go row by row, and the thumbnail comes last or not at all") {
  ThreadPool pool(1);
  Image image{4, 2, {}};  // two rows of four colours
  for (int y = 0; y < 2; ++y) {
    for (int x = 0; x < 4; ++x) {
      for (const int level : {40 * x, 100 * y, 7}) image.rgb.push_back(std::uint8_t(level));
    }
  }
  const TileRules rules{.tile_px = 1, .max_tiles = 8};
  const Tiles tiles = make_tiles(pool, Picture::view(image, rules));
  REQUIRE(tiles.grid == TileGrid{4, 2});
  REQUIRE(tiles.count == 9);
  for (int tile = 0; tile < 8; ++tile) {
    CHECK(int(tiles.row(tile, 0)[0]) == 40 * (tile % 4));
    CHECK(int(tiles.row(tile, 0)[1]) == 100 * (tile / 4));
    CHECK(int(tiles.row(tile, 0)[2]) == 7);
  }
  CHECK(int(tiles.row(8, 0)[0]) == 60);
  CHECK(int(tiles.row(8, 0)[1]) == 50);
  CHECK(make_tiles(pool, Picture::view(image, {.tile_px = 1, .max_tiles = 8, .thumbnail = false})).count == 8);
  CHECK(make_tiles(pool, Picture::view(image, {.tile_px = 1, .max_tiles = 1})).count == 1);
}

}  // namespace
