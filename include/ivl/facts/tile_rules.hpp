// How a picture may be cut into tiles.
#pragma once

namespace ivl {

/// Defaults are those of the InternVL demo code; the keys are config.json's.
struct TileRules {
  int tile_px = 448;      // force_image_size
  int min_tiles = 1;      // min_dynamic_patch
  int max_tiles = 12;     // max_dynamic_patch; the thumbnail is not counted
  bool thumbnail = true;  // use_thumbnail: the whole picture as one more tile, unless the grid has only one

  static constexpr int most_tiles = 1024;
  static constexpr int most_tile_px = 4096;
  bool operator==(const TileRules&) const = default;
};

}  // namespace ivl
