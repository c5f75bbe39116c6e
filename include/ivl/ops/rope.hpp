// Angles of the rotary embedding, once a step for all layers.
//
//   angles [rows, head_dim]: cos(p f_i) for i < head_dim / 2, then sin(p f_i), with f_i = base^(-2 i / head_dim)
//
// The product p f_i is rounded to float, as the reference does. With dynamic NTK (transformers'
// `_compute_dynamic_ntk_parameters`) the base grows once a sequence is longer than `context`:
//   base' = base (factor L / context - (factor - 1))^(d / (d - 2))
// where L is the row's rope length: the length of the sequence when the row's token entered, prompts counting whole.
// With YaRN (Peng et al., arXiv 2309.00071; transformers' `_compute_yarn_parameters`), at every length,
//   f_i = (1 - r_i + r_i / factor) base^(-2 i / d)     r_i = clamp((i - low) / (high - low), 0, 1)
//   low, high = d ln(context / (2 pi beta)) / (2 ln base) for beta_fast and beta_slow, and cos and sin times
//   attention_factor
#pragma once
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/facts/rope.hpp"

namespace ivl {

/// Between these dimensions YaRN goes over from frequencies that stay as they are to divided ones.
struct YarnRamp {
  float begin = 0, length = 1;
};

/// Of a head of this width; without YaRN no dimension is divided.
YarnRamp yarn_ramp(const RopeFacts& facts, int head_dim);

/// What a backend offers: rope_angles(ctx, facts, positions [rows], rope_lengths [rows], angles).
template <class Context>
concept RopeOp = requires(Context& ctx, const RopeFacts& facts, const std::int32_t* rows, Rows<float> angles) {
  rope_angles(ctx, facts, rows, rows, angles);
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/ops/rope.ipp"
#endif
