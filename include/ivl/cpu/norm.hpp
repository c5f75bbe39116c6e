// Normalisation of rows (see ops/norm.hpp). A row passes two (rms) or three times (layer), out of the first cache.
#pragma once
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/norm.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// gain [width]
template <class Scalar>
void rms_norm(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, Rows<Scalar> y);

/// gain, bias [width]
template <class Scalar>
void layer_norm(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y);

static_assert(NormOps<Context, bf16> && NormOps<Context, float>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/norm.ipp"
#endif
