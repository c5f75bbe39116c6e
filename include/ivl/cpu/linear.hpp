// y = epilogue(x W^T) on panels (see panel_format.hpp for the layout, ops/linear.hpp for the contract).
#pragma once
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Activations in bf16 or float; a float row is never rounded. The sums of bf16 activations and of weights that are
/// bf16 or MXFP4 are made of `vdpbf16ps` where there is one, all others of fused multiply-adds.
template <class Scalar, class Result>
void linear(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue, Rows<Result> y);

static_assert(LinearOp<Context, bf16> && LinearOp<Context, bf16, float> && LinearOp<Context, float>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/linear.ipp"
#endif
