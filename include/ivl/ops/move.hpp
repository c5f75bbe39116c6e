// Moving rows: lookups, patches, and the pixel shuffle. Nothing here computes more than a sum.
#pragma once
#include <cstdint>
#include <type_traits>

#include "ivl/core/rows.hpp"
#include "ivl/facts/shuffle_order.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// What a backend offers:
///   embed(ctx, sources, table, images, y)
///       y[r] = table[s] for s = sources[r] >= 0, else images[-1 - s]: the embedding, with the rows of pictures merged
///       in
///   gather_rows(ctx, indices, x, y)          y[r] = x[indices[r]]
///   unfold_patches(ctx, tile_px, patch_px, pixels, patches)
///       pixels [tiles, 3 tile_px^2] in (channel, row, column) order
///       patches [tiles side^2, 3 patch_px^2], row-major patches, each in (channel, row, column) order
///   add_positions(ctx, side, patches, class_token, positions, x)
///       x [tiles (1 + side^2), width]: row 0 of a tile = class_token + positions[0], row 1 + p = patch p + positions[1
///       + p] class_token [width] and positions [1 + side^2, width] are float
///   pixel_shuffle(ctx, side, scale, order, x, y)
///       x [tiles (1 + side^2), width], the class row is dropped; g = side / scale
///       v2: y [tiles g^2, scale^2 width]: token g R + Q = blocks (dy, dx) row-major of x at (scale R + dy, scale Q +
///       dx) v1: the same blocks, token g Q + R
template <class Context, class Scalar>
concept RowOps = requires(Context& ctx, const std::int32_t* indices, const PlacedTable& table, Rows<const Scalar> x,
                          const float* p, Rows<Scalar> y) {
  embed(ctx, indices, table, x, y);
  gather_rows(ctx, indices, x, y);
  unfold_patches(ctx, 448, 14, x, y);
  add_positions(ctx, 32, x, p, p, y);
  pixel_shuffle(ctx, 32, 2, ShuffleOrder::v2, x, y);
};

template <class Context, class Scalar, int Width>
  requires(Width != dynamic)
void embed(Context& ctx, const std::int32_t* sources, const Table<Width>& table,
           std::type_identity_t<Rows<const Scalar, Width>> images, Rows<Scalar, Width> y) {
  embed(ctx, sources, table.placed, Rows<const Scalar>(images), Rows<Scalar>(y));
}

template <class Context, class Scalar, int Width>
  requires(Width != dynamic)
void gather_rows(Context& ctx, const std::int32_t* indices, std::type_identity_t<Rows<const Scalar, Width>> x,
                 Rows<Scalar, Width> y) {
  gather_rows(ctx, indices, Rows<const Scalar>(x), Rows<Scalar>(y));
}

template <int TilePx, int PatchPx, class Context, class Scalar>
void unfold_patches(Context& ctx, std::type_identity_t<Rows<const Scalar, 3 * TilePx * TilePx>> pixels,
                    Rows<Scalar, 3 * PatchPx * PatchPx> patches) {
  unfold_patches(ctx, TilePx, PatchPx, Rows<const Scalar>(pixels), Rows<Scalar>(patches));
}

template <int Side, class Context, class Scalar, int Width>
void add_positions(Context& ctx, std::type_identity_t<Rows<const Scalar, Width>> patches,
                   const Vector<Width>& class_token, const Vector<(1 + Side * Side) * Width>& positions,
                   Rows<Scalar, Width> x) {
  add_positions(ctx, Side, Rows<const Scalar>(patches), class_token.data(), positions.data(), Rows<Scalar>(x));
}

template <int Side, int Scale, class Context, class Scalar, int Width>
void pixel_shuffle(Context& ctx, ShuffleOrder order,
                   std::type_identity_t<Rows<const Scalar, Width / (Scale * Scale)>> x, Rows<Scalar, Width> y) {
  static_assert(MultipleOf<Side, Scale>, "pixel_shuffle: the patch grid must be a whole number of blocks");
  pixel_shuffle(ctx, Side, Scale, order, Rows<const Scalar>(x), Rows<Scalar>(y));
}

}  // namespace ivl
