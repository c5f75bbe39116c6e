// Dynamic tiling: which grid of square tiles a picture is cut into.
#pragma once
#include "ivl/core/error.hpp"
#include "ivl/facts/tile_rules.hpp"

namespace ivl {

struct TileGrid {
  int columns = 1;
  int rows = 1;

  constexpr int cells() const { return columns * rows; }
  constexpr bool has_thumbnail(const TileRules& rules) const { return rules.thumbnail && cells() != 1; }
  constexpr int tiles(const TileRules& rules) const { return cells() + (has_thumbnail(rules) ? 1 : 0); }
  bool operator==(const TileGrid&) const = default;
};

/// The grid whose columns / rows is nearest to width / height (in double, as the reference compares them). Of grids
/// equally near, a later one (grids come in ascending cells) wins if the picture has more pixels than half its tiles.
/// The formula is `dynamic_preprocess` of the InternVL model cards. Throws RequestError.
constexpr TileGrid choose_grid(int width, int height, const TileRules& rules = {}) {
  if (rules.tile_px < 1 || rules.tile_px > TileRules::most_tile_px) {
    fail<RequestError>("tile rules: expected a tile_px of 1 to ", TileRules::most_tile_px, ", found ", rules.tile_px);
  }
  if (rules.min_tiles < 1 || rules.max_tiles < rules.min_tiles || rules.max_tiles > TileRules::most_tiles) {
    fail<RequestError>("tile rules: expected 1 <= min_tiles <= max_tiles <= ", TileRules::most_tiles,
                       ", found min_tiles ", rules.min_tiles, " and max_tiles ", rules.max_tiles);
  }
  if (width < 1 || height < 1)
    fail<RequestError>("tile grid: expected a picture of at least 1 x 1, found ", width, " x ", height);

  const double aspect = double(width) / height;
  const double area = double(width) * height;
  const double half_tile_area = 0.5 * rules.tile_px * rules.tile_px;
  TileGrid best;
  double best_distance = -1;  // none yet
  for (int cells = rules.min_tiles; cells <= rules.max_tiles; ++cells) {
    for (int columns = 1; columns <= cells; ++columns) {
      if (cells % columns != 0) continue;
      const TileGrid grid{columns, cells / columns};
      const double difference = aspect - double(grid.columns) / grid.rows;
      const double distance = difference < 0 ? -difference : difference;
      const bool nearer = best_distance < 0 || distance < best_distance;
      if (nearer || (distance == best_distance && area > half_tile_area * cells)) {
        best = grid;
        best_distance = distance;
      }
    }
  }
  return best;
}

}  // namespace ivl
