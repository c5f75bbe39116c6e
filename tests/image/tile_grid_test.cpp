#include "ivl/image/tile_grid.hpp"

#include <doctest/doctest.h>

#include "tests/image/golden.hpp"

namespace {

using namespace ivl;

static_assert(choose_grid(448, 448) == TileGrid{1, 1});
static_assert(choose_grid(448, 448).tiles(TileRules{}) == 1);
static_assert(choose_grid(633, 633) == TileGrid{1, 1});
static_assert(choose_grid(634, 634) == TileGrid{2, 2});   // 634^2 = 401956 > 0.5 * 448^2 * 4 = 401408
static_assert(choose_grid(1008, 896) == TileGrid{2, 2});  // exactly half of 3:3's area is not more than half
static_assert(choose_grid(640, 480) == TileGrid{4, 3});
static_assert(choose_grid(640, 480).tiles(TileRules{}) == 13);
static_assert(choose_grid(350, 100) == TileGrid{3, 1});   // as near as 4:1 and 6:2 are
static_assert(choose_grid(1568, 448) == TileGrid{4, 1});  // the same ratio with more pixels
static_assert(choose_grid(100, 3000) == TileGrid{1, 12});
static_assert(choose_grid(1000, 10, {.min_tiles = 5, .max_tiles = 7}) == TileGrid{7, 1});

TEST_CASE("grids are those of the model cards' code, exact ties included") {
  const Json& grids = test::golden_pixels()["grids"];
  REQUIRE(grids.size() >= 300);
  for (const Json& golden : grids) {
    const int width = golden["width"], height = golden["height"];
    CAPTURE(width);
    CAPTURE(height);
    for (const auto& [limit, grid] : golden["grid"].items()) {
      CAPTURE(limit);
      const TileGrid found = choose_grid(width, height, {.max_tiles = std::stoi(limit)});
      REQUIRE(found.columns == grid[0]);
      REQUIRE(found.rows == grid[1]);
    }
  }
}

TEST_CASE("a grid never has fewer or more cells than the rules say") {
  for (int least : {1, 2, 5, 7}) {
    for (int most : {7, 12, 13}) {
      for (int width : {1, 3, 448, 60000}) {
        for (int height : {1, 5, 449, 60000}) {
          const int cells = choose_grid(width, height, {.min_tiles = least, .max_tiles = most}).cells();
          CHECK(cells >= least);
          CHECK(cells <= most);
        }
      }
    }
  }
}

TEST_CASE("rules that no grid can follow are refused") {
  const auto with = [](TileRules rules) { return choose_grid(10, 10, rules); };
  CHECK_THROWS_WITH_AS(with({.max_tiles = 0}),
                       "tile rules: expected 1 <= min_tiles <= max_tiles <= 1024, found min_tiles 1 and max_tiles 0",
                       RequestError);
  CHECK_THROWS_AS(with({.min_tiles = 0}), RequestError);
  CHECK_THROWS_AS(with({.min_tiles = 5, .max_tiles = 4}), RequestError);
  CHECK_THROWS_AS(with({.max_tiles = 1 << 30}), RequestError);
  CHECK_THROWS_WITH_AS(with({.tile_px = 0}), "tile rules: expected a tile_px of 1 to 4096, found 0", RequestError);
  CHECK_THROWS_AS(with({.tile_px = 1 << 20}), RequestError);
  CHECK_THROWS_WITH_AS(choose_grid(0, 10), "tile grid: expected a picture of at least 1 x 1, found 0 x 10",
                       RequestError);
}

}  // namespace
