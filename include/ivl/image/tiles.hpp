// A picture as the square tiles that the model sees.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/image/resize.hpp"

namespace ivl {

/// The cells of the grid, row by row, then the thumbnail if there is one.
struct Tiles {
  int tile_px = 0;
  int count = 0;
  TileGrid grid;
  std::vector<std::uint8_t> pixels;  // [count, tile_px, tile_px, 3]

  const std::uint8_t* row(int tile, int y) const {
    return pixels.data() + (std::int64_t(tile) * tile_px + y) * tile_px * 3;
  }
};

namespace detail {
inline namespace IVL_CPU_LEVEL {

/// Calls row(tile, y, planes, stride), colour c of pixel x being planes[c * stride + x], for every row of every tile,
/// from any thread and in any order.
template <class Quads, class Row>
void for_tile_rows(ThreadPool& pool, const Picture& picture, Row&& row) {
  const TileGrid grid = picture.grid();
  const int tile_px = picture.rules().tile_px;
  const PixelSize sizes[] = {{grid.columns * tile_px, grid.rows * tile_px}, {tile_px, tile_px}};
  const std::span wanted(sizes, grid.has_thumbnail(picture.rules()) ? 2 : 1);
  const auto image = picture.image();
  if (!image) fail<RequestError>("tiles: expected a picture with an image of its own, found none");
  resize_rows<Quads>(pool, *image, wanted, [&](int size, int y, const std::uint8_t* planes, int stride) {
    if (size == 1) return row(grid.cells(), y, planes, stride);
    for (int column = 0; column < grid.columns; ++column) {
      row(y / tile_px * grid.columns + column, y % tile_px, planes + std::ptrdiff_t(column) * tile_px, stride);
    }
  });
}

}  // namespace IVL_CPU_LEVEL
}  // namespace detail

inline namespace IVL_CPU_LEVEL {

/// Resizes the picture to its grid (the aspect ratio is not kept) and cuts it. Throws ImageError, and RequestError for
/// a picture without an image.
template <class Quads = detail::BestQuads>
Tiles make_tiles(ThreadPool& pool, const Picture& picture);

}  // namespace IVL_CPU_LEVEL

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/tiles.ipp"
#endif
