// The bodies of rope.hpp.
#pragma once
#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/rope.hpp"
#include "ivl/facts/rope.hpp"
#include "ivl/ops/rope.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

inline constexpr int max_rope_dim = 256;

IVL_INLINE float rope_base(const RopeFacts& facts, int head_dim, std::int32_t length) {
  if (facts.kind != RopeKind::dynamic_ntk || length <= facts.context) return float(facts.base);
  const float growth = float(facts.factor) * float(length) / float(facts.context) - float(facts.factor - 1);
  return float(facts.base) * float(std::pow(double(growth), double(float(double(head_dim) / (head_dim - 2)))));
}

IVL_INLINE void inverse_frequencies(float base, int head_dim, float* f) {
  for (int i = 0; i < head_dim / 2; ++i) {
    f[i] = 1 / float(std::pow(double(base), double(float(2 * i) / float(head_dim))));
  }
}

IVL_INLINE void yarn_frequencies(const RopeFacts& facts, int head_dim, float* f) {
  const YarnRamp ramp = yarn_ramp(facts, head_dim);
  // Factors in double, so that no compiler fuses what should round twice.
  const auto product = [](float a, float b) { return float(double(a) * double(b)); };
  for (int i = 0; i < head_dim / 2; ++i) {
    const float period = float(std::pow(double(float(facts.base)), double(float(2 * i) / float(head_dim))));
    const float share = std::clamp((float(i) - ramp.begin) / ramp.length, 0.0f, 1.0f), kept = 1 - share;
    f[i] = product(1 / product(float(facts.factor), period), 1 - kept) + product(1 / period, kept);
  }
}

/// Sine and cosine in double, for 0 <= x < 2^20: branch-free, so that a loop over it becomes SIMD code.
/// Polynomials and the split of pi / 2 are fdlibm's (k_sin.c, k_cos.c, e_rem_pio2.c); the error is below 2^-51.
inline void sine_cosine(double x, float& sine, float& cosine) {
  constexpr double shift = 0x1.8p52;  // adding it rounds to an integer, which then stands in the low bits
  const double shifted = x * 6.36619772367581382433e-01 + shift, quarter_turns = shifted - shift;
  const auto n = std::bit_cast<std::uint64_t>(shifted);
  const double r = x - quarter_turns * 1.57079632673412561417e+00 - quarter_turns * 6.07710050650619224932e-11,
               z = r * r;
  const double s = r + r * z *
                           (-1.66666666666666324348e-01 +
                            z * (8.33333333332248946124e-03 +
                                 z * (-1.98412698298579493134e-04 +
                                      z * (2.75573137070700676789e-06 +
                                           z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
  const double c = 1 - 0.5 * z +
                   z * z *
                       (4.16666666666666019037e-02 +
                        z * (-1.38888888888741095749e-03 +
                             z * (2.48015872894767294178e-05 +
                                  z * (-2.75573143513906633035e-07 +
                                       z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const auto s_bits = std::bit_cast<std::uint64_t>(s), c_bits = std::bit_cast<std::uint64_t>(c);
  const std::uint64_t swap = 0 - (n & 1), either = (s_bits ^ c_bits) & swap;
  const std::uint64_t sine_sign = (n & 2) << 62, cosine_sign = ((n + 1) & 2) << 62;
  sine = float(std::bit_cast<double>((s_bits ^ either) ^ sine_sign));
  cosine = float(std::bit_cast<double>((c_bits ^ either) ^ cosine_sign));
}

}  // namespace detail

IVL_INLINE void rope_angles(Context& ctx, const RopeFacts& facts, const std::int32_t* positions,
                            const std::int32_t* rope_lengths, Rows<float> angles) {
  constexpr std::int64_t rows_per_task = 16;
  const int head_dim = int(angles.width()), half_dim = head_dim / 2;
  assert(head_dim <= detail::max_rope_dim);
  ctx.pool.run(ceil_div(angles.count, rows_per_task), [&](std::int64_t task) {
    float frequencies[detail::max_rope_dim / 2];
    float base = 0;  // of `frequencies`; none yet
    for (std::int64_t row = task * rows_per_task; row < std::min(angles.count, (task + 1) * rows_per_task); ++row) {
      const float row_base = detail::rope_base(facts, head_dim, rope_lengths[row]);
      if (row_base != base) {
        base = row_base;
        facts.kind == RopeKind::yarn ? detail::yarn_frequencies(facts, head_dim, frequencies)
                                     : detail::inverse_frequencies(base, head_dim, frequencies);
      }
      const float position = float(positions[row]);
      float *cosines = angles[row], *sines = angles[row] + half_dim;
      for (int i = 0; i < half_dim; ++i) {
        const float angle = position * frequencies[i];
        detail::sine_cosine(angle, sines[i], cosines[i]);
      }
      if (facts.kind == RopeKind::yarn) {
        for (int i = 0; i < head_dim; ++i) angles[row][i] *= float(facts.attention_factor);
      }
    }
  });
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
