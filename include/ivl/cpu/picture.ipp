// The bodies of picture.hpp.
#pragma once
#include <cassert>
#include <cstdint>
#include <span>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/move.hpp"
#include "ivl/cpu/picture.hpp"
#include "ivl/image/normalise.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <class Scalar>
void unfold_picture(Context& ctx, const Picture& picture, const PixelStatistics& statistics, int patch_px,
                    Rows<Scalar> patches) {
  const std::int64_t tiles = picture.tiles(), tile_px = picture.rules().tile_px, tile_scalars = 3 * tile_px * tile_px;
  assert(patches.count * patches.width() == tiles * tile_scalars && patches.width() == 3 * patch_px * patch_px);
  const std::span pixels(ctx.template scratch<Scalar>(tiles * tile_scalars), std::size_t(tiles * tile_scalars));
  make_pixel_values<Scalar>(ctx.pool, picture, statistics, pixels);
  unfold_patches(ctx, int(tile_px), patch_px, Rows<const Scalar>(pixels.data(), tiles, tile_scalars), patches);
}

#ifdef IVL_COMPILED
template void unfold_picture(Context&, const Picture&, const PixelStatistics&, int, Rows<float>);
template void unfold_picture(Context&, const Picture&, const PixelStatistics&, int, Rows<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
