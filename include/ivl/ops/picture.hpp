// Pictures as the patches that a vision tower embeds.
#pragma once
#include <cstdint>

#include "ivl/core/error.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/facts/pixel_statistics.hpp"
#include "ivl/image/picture.hpp"

namespace ivl {

/// What a backend offers:
///   unfold_picture(ctx, picture, statistics, patch_px, patches)
///       the picture's bytes, on the host, as tiles (image/tiles.hpp), normalised (image/normalise.hpp), in patches
///       patches [tiles side^2, 3 patch_px^2], side = tile_px / patch_px: cells of the grid row by row, then the
///       thumbnail; a tile's patches are row-major, each in (channel, row, column) order. No combined picture
/// All backends give the same bits. Throws RequestError, ImageError, ConfigError.
template <class Context, class Scalar>
concept PictureOp = requires(Context& ctx, const Picture& picture, const PixelStatistics& statistics,
                             Rows<Scalar> patches) { unfold_picture(ctx, picture, statistics, 14, patches); };

/// Of a combined picture part by part. Throws RequestError too unless `patches` is as many rows as the picture has
/// patches.
template <int PatchPx, class Context, class Scalar>
void unfold_picture(Context& ctx, const Picture& picture, const PixelStatistics& statistics,
                    Rows<Scalar, 3 * PatchPx * PatchPx> patches) {
  const std::int64_t tiles = picture.tiles(), tile_px = picture.rules().tile_px, side = tile_px / PatchPx;
  if (tile_px % PatchPx != 0 || patches.count != tiles * side * side)
    fail<RequestError>("patches: expected rows for ", tiles, " tiles of ", tile_px, " x ", tile_px,
                       " pixels in whole patches of ", PatchPx, " x ", PatchPx, ", found ", patches.count);
  std::int64_t done = 0;
  for (const Picture& part : picture.parts()) {
    const std::int64_t rows = part.tiles() * side * side;
    unfold_picture(ctx, part, statistics, PatchPx, Rows<Scalar>(patches.slice(done, rows)));
    done += rows;
  }
  if (done == 0) unfold_picture(ctx, picture, statistics, PatchPx, Rows<Scalar>(patches));
}

}  // namespace ivl
