// The sparse mixture of experts on panels (see ops/moe.hpp for the contract, panel_group.hpp for the products).
//
// The pairs (row, expert) that routes name are put in order of experts. A task is some rows of one expert against one
// group of its panels, so that all threads share each expert's weights, and only the chosen experts are read; the
// weights meet as many rows as chose them. Each pair keeps its own result as floats, and a last pass adds up a row's.
#pragma once
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/moe.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Reads the parts once, with all threads. Memory beside the parts: the panels.
PlacedExperts place_experts(Context& ctx, int experts, Fusion fusion, std::span<const SourceMatrix> parts);

void route(Context& ctx, Rows<const float> logits, const Routes& routes);

template <class Scalar, class Result>
void expert_mlp(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                Rows<Result> y);

static_assert(MoeOps<Context, float> && MoeOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/moe.ipp"
#endif
