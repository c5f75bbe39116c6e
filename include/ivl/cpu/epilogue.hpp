// What becomes of the sums of a product, sixteen columns at a time: the activations, and ops/linear.hpp's epilogues.
#pragma once
#include <cstdint>

#include "ivl/cpu/lanes.hpp"
#include "ivl/facts/expert_activation.hpp"
#include "ivl/ops/linear.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// u / (1 + e^-u). Below -88, where that is -5e-37, it stays there.
inline Lanes silu(Lanes u) {
  u = max(Lanes::of(-88), u);
  return u / (Lanes::of(1) + exp(Lanes::zero() - u));
}

/// u Phi(u), where Phi(-|u|) = erfc(a) / 2 with a = |u| / sqrt 2.
inline Lanes gelu(Lanes u) {
  // erfc(a) = e^(-a^2) t q(t) with t = 1 / (1 + 0.35 a): q interpolates it at the Chebyshev nodes of 0 <= a <= 10
  // within 2.8e-8 of its value. The tail is a product, so it keeps its relative precision where 1 + erf would cancel.
  constexpr float q[] = {0.19748926162719727f,  0.19703073799610138f, 0.18880639970302582f,   0.14691577851772308f,
                         0.15855468809604645f,  0.0634051114320755f,  0.0010456122690811753f, 0.15964122116565704f,
                         -0.14954353868961334f, 0.03665472939610481f};
  // At 20 the tail is 0 already, and nothing overflows.
  const Lanes size = min(Lanes::of(20), abs(u)), half_size = Lanes::of(0.5f) * size;
  const Lanes t = Lanes::of(1) / fma(size, Lanes::of(0.35f * 0.70710678f), Lanes::of(1));
  Lanes p = Lanes::of(q[9]);
#pragma GCC unroll 9
  for (int i = 8; i >= 0; --i) p = fma(p, t, Lanes::of(q[i]));
  // e^(-a^2), with what the rounding of a^2 lost.
  const Lanes lost = product_error(half_size, size);
  const Lanes power = exp(Lanes::zero() - half_size * size);
  const Lanes tail = half_size * (t * p) * fma(power, Lanes::zero() - lost, power);
  return max(Lanes::zero(), u) - tail;
}

/// The hidden values of an expert.
inline Lanes activate(ExpertActivation activation, Lanes gate, Lanes up) {
  if (activation == ExpertActivation::swi_glu) return silu(gate) * up;
  const Lanes limit = Lanes::of(7);
  gate = min(limit, gate);
  up = max(Lanes::of(-7), min(limit, up));
  // As in silu: at -88 / 1.702, where this is -3e-37, it stays.
  gate = max(Lanes::of(-51.7f), gate);
  return gate / (Lanes::of(1) + exp(Lanes::of(-1.702f) * gate)) * (up + Lanes::of(1));
}

/// Up to 16 columns of a row, from `column` on: the sums in `u` leave through the epilogue.
template <class Result>
void finish(const Epilogue& epilogue, Lanes u, std::int64_t column, std::int64_t number, Result* y) {
  const bool whole = number >= lanes;
  const auto read = [=](const auto* from) {
    return whole ? Lanes::load(from + column) : load_first(from + column, number);
  };
  if (epilogue.bias) u = u + read(epilogue.bias);
  if (epilogue.scale) u = u * read(epilogue.scale);
  if (epilogue.kind == EpilogueKind::gelu) u = gelu(u);
  if (epilogue.kind == EpilogueKind::add) u = read(y) + u;
  if (whole)
    u.store(y + column);
  else
    store_first(u, y + column, number);
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
