// Pictures as patches (see ops/picture.hpp for the contract).
#pragma once
#include <cassert>
#include <cstdint>
#include <span>

#include "ivl/core/buffer.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/move.hpp"
#include "ivl/image/normalise.hpp"
#include "ivl/ops/picture.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Its working memory, the pixel values of all tiles, is freed on return.
template <class Scalar>
void unfold_picture(Context& ctx, const Image& picture, const TileRules& rules, const PixelStatistics& statistics,
                    int patch_px, Rows<Scalar> patches) {
  const std::int64_t tiles = choose_grid(picture.width, picture.height, rules).tiles(rules);
  const std::int64_t tile_scalars = std::int64_t(3) * rules.tile_px * rules.tile_px;
  assert(patches.count * patches.width() == tiles * tile_scalars && patches.width() == 3 * patch_px * patch_px);
  const Buffer memory(std::size_t(tiles * tile_scalars) * sizeof(Scalar));
  const std::span pixels(memory.as<Scalar>(), std::size_t(tiles * tile_scalars));
  make_pixel_values<Scalar>(ctx.pool, picture, rules, statistics, pixels);
  unfold_patches(ctx, rules.tile_px, patch_px, Rows<const Scalar>(pixels.data(), tiles, tile_scalars), patches);
}

static_assert(PictureOp<Context, float> && PictureOp<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
