// Moving rows (see ops/move.hpp for the contract).
#pragma once
#include <cstdint>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/move.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <class Scalar>
void embed(Context& ctx, const std::int32_t* sources, const PlacedTable& table, Rows<const Scalar> images,
           Rows<Scalar> y);

template <class Scalar>
void gather_rows(Context& ctx, const std::int32_t* indices, Rows<const Scalar> x, Rows<Scalar> y);

template <class Scalar>
void unfold_patches(Context& ctx, int tile_px, int patch_px, Rows<const Scalar> pixels, Rows<Scalar> patches);

template <class Scalar>
void add_positions(Context& ctx, int side, Rows<const Scalar> patches, const float* class_token, const float* positions,
                   Rows<Scalar> x);

template <class Scalar>
void pixel_shuffle(Context& ctx, int side, int scale, ShuffleOrder order, Rows<const Scalar> x, Rows<Scalar> y);

static_assert(RowOps<Context, float> && RowOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/move.ipp"
#endif
