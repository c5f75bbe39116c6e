// Pictures as patches (see ops/picture.hpp for the contract).
#pragma once
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/facts/pixel_statistics.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/ops/picture.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Works in the context's scratch, which holds the pixel values of all tiles.
template <class Scalar>
void unfold_picture(Context& ctx, const Picture& picture, const PixelStatistics& statistics, int patch_px,
                    Rows<Scalar> patches);

static_assert(PictureOp<Context, float> && PictureOp<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/picture.ipp"
#endif
