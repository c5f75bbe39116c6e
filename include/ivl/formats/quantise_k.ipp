// The bodies of quantise_k.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include "ivl/formats/quantise_k.hpp"

namespace ivl::detail {

/// Numbers that share a scale; eight sums side by side, so that compilers keep them in a vector.
inline constexpr int sums = 8;

/// What a run's codes q stand for: scale q - minimum.
struct RunFit {
  float scale = 0, minimum = 0;
};

inline float sum_of(const float (&parts)[sums]) {
  float sum = 0;
  for (const float part : parts) sum += part;
  return sum;
}

/// The codes from `least` to `most` that are nearest to `count` numbers, as floats, and the squared error that is left.
template <int count, int least, int most>
float nearest_codes(const float* x, RunFit fit, float* codes) {
  const float inverse = std::abs(fit.scale) >= FLT_MIN ? 1 / fit.scale : 0;
  float errors[sums]{};
  for (int k = 0; k < count; k += sums) {
    for (int j = 0; j < sums; ++j) {
      const float nearest = std::nearbyint((x[k + j] + fit.minimum) * inverse);
      const float above = nearest > float(least) ? nearest : float(least);
      const float q = above < float(most) ? above : float(most);
      codes[k + j] = q;
      const float rest = fit.scale * q - fit.minimum - x[k + j];
      errors[j] += rest * rest;
    }
  }
  return sum_of(errors);
}

/// The fit of least squared error for given codes. A minimum below 0 cannot be stored.
template <int count>
RunFit fit_of(const float* x, const float* codes, bool with_minimum) {
  float q_parts[sums]{}, qq_parts[sums]{}, x_parts[sums]{}, xq_parts[sums]{};
  for (int k = 0; k < count; k += sums) {
    for (int j = 0; j < sums; ++j) {
      const float q = codes[k + j];
      q_parts[j] += q;
      qq_parts[j] += q * q;
      x_parts[j] += x[k + j];
      xq_parts[j] += x[k + j] * q;
    }
  }
  // Of codes the sums are whole numbers that floats hold.
  const float q1 = sum_of(q_parts), q2 = sum_of(qq_parts), x1 = sum_of(x_parts), xq = sum_of(xq_parts);
  const float determinant = float(count) * q2 - q1 * q1;
  if (with_minimum && determinant > 0) {
    const RunFit fit{(float(count) * xq - q1 * x1) / determinant, (q1 * xq - q2 * x1) / determinant};
    if (fit.minimum >= 0 && fit.scale >= 0) return fit;
  }
  return {q2 > 0 ? xq / q2 : 0, 0};
}

inline std::int8_t stored_code(float code) { return std::int8_t(code); }

/// The better of what was tried so far and one more.
struct BestFit {
  RunFit fit;
  float error = INFINITY;

  void offer(RunFit other, float its_error) {
    if (its_error < error) fit = other, error = its_error;
  }
};

// ---- Q4_K and Q5_K -------------------------------------------------------------------------------------------------
inline constexpr int largest_six_bits = 63;

/// From the lowest number, at most 0, to the highest.
template <int most>
RunFit rounding_fit(const float* x) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float minimum = std::min(*low, 0.0f);
  return {(std::max(*high, minimum) - minimum) / float(most), -minimum};
}

template <int most>
RunFit searched_fit(const float* x) {
  float codes[32];
  const RunFit rounding = rounding_fit<most>(x);
  BestFit best{rounding, nearest_codes<32, 0, most>(x, rounding, codes)};
  for (int step = -10; step <= 10; ++step) {
    const RunFit wider{rounding.scale * float(most) / (float(most) + 0.1f * float(step)), rounding.minimum};
    nearest_codes<32, 0, most>(x, wider, codes);
    RunFit fit = fit_of<32>(x, codes, true);
    if (fit.scale < 0) fit = {};
    best.offer(fit, nearest_codes<32, 0, most>(x, fit, codes));
  }
  return best.fit;
}

/// The scales, minima and codes of a block, before they are packed.
struct AffineBlock {
  half d{}, dmin{};
  std::array<std::uint8_t, 8> scales{}, minima{};
  std::array<std::int8_t, 256> codes{};
  float error = 0;
};

/// Each run with the best of its rounded scale and minimum and their neighbours.
template <int most>
AffineBlock block_with(const float* x, const std::array<RunFit, 8>& fits) {
  AffineBlock block;
  float scale = 0, minimum = 0;
  for (const RunFit& fit : fits) {
    scale = std::max(scale, fit.scale);
    minimum = std::max(minimum, fit.minimum);
  }
  block.d = scale_half(scale / largest_six_bits);
  block.dmin = scale_half(minimum / largest_six_bits);
  const float d = to_float(block.d), dmin = to_float(block.dmin);
  const auto rounded = [](float value, float unit) { return unit > 0 ? int(std::nearbyint(value / unit)) : 0; };
  const auto is_stored = [](int bits) { return bits >= 0 && bits <= largest_six_bits; };
  for (std::size_t run = 0; run < 8; ++run) {
    const int scale_bits = std::min(rounded(fits[run].scale, d), largest_six_bits);
    const int minimum_bits = std::min(rounded(fits[run].minimum, dmin), largest_six_bits);
    const float* numbers = x + 32 * run;
    float codes[32];
    float least = INFINITY;
    for (int s = scale_bits - 1; s <= scale_bits + 1; ++s) {
      for (int m = minimum_bits - 1; m <= minimum_bits + 1; ++m) {
        if (!is_stored(s) || !is_stored(m)) continue;
        const float error = nearest_codes<32, 0, most>(numbers, {d * float(s), dmin * float(m)}, codes);
        if (!(error < least)) continue;
        least = error;
        block.scales[run] = std::uint8_t(s);
        block.minima[run] = std::uint8_t(m);
        std::transform(codes, codes + 32, block.codes.begin() + 32 * std::ptrdiff_t(run), stored_code);
      }
    }
    block.error += least;
  }
  return block;
}

template <int most>
AffineBlock affine_block(const float* x) {
  std::array<RunFit, 8> searched, rounding;
  for (std::size_t run = 0; run < 8; ++run) {
    searched[run] = searched_fit<most>(x + 32 * run);
    rounding[run] = rounding_fit<most>(x + 32 * run);
  }
  const AffineBlock a = block_with<most>(x, searched), b = block_with<most>(x, rounding);
  return b.error < a.error ? b : a;
}

/// What Q4_K and Q5_K have in common; see `scale_and_minimum`.
template <class Block>
void pack(const AffineBlock& from, Block& to) {
  to.d = from.d;
  to.dmin = from.dmin;
  for (std::size_t run = 0; run < 4; ++run) {
    const unsigned s = from.scales[run + 4], m = from.minima[run + 4];
    to.scales[run] = std::uint8_t(from.scales[run] | s >> 4 << 6);
    to.scales[run + 4] = std::uint8_t(from.minima[run] | m >> 4 << 6);
    to.scales[run + 8] = std::uint8_t((s & 15) | (m & 15) << 4);
  }
  for (std::size_t k = 0; k < 256; ++k)
    to.codes[k / 64][k % 32] |= std::uint8_t((from.codes[k] & 15) << (k / 32 % 2 * 4));
}

IVL_INLINE void quantise_block(const float* x, Q4K::Block& to) { pack(affine_block<15>(x), to); }

IVL_INLINE void quantise_block(const float* x, Q5K::Block& to) {
  const AffineBlock block = affine_block<31>(x);
  pack(block, to);
  for (std::size_t k = 0; k < 256; ++k) to.high[k % 32] |= std::uint8_t(block.codes[k] >> 4 << (k / 32));
}

// ---- Q6_K ----------------------------------------------------------------------------------------------------------
/// The number of the largest magnitude gets the lowest code.
inline RunFit lowest_code_fit(const float* x) {
  const float peak = *std::max_element(x, x + 16, [](float a, float b) { return std::abs(a) < std::abs(b); });
  return {peak / -32, 0};
}

inline RunFit searched_fit_of_16(const float* x) {
  float codes[16];
  const RunFit plain = lowest_code_fit(x);
  BestFit best{plain, nearest_codes<16, -32, 31>(x, plain, codes)};
  for (int step = -9; step <= 9; ++step) {
    nearest_codes<16, -32, 31>(x, {plain.scale * 32 / (32 + 0.1f * float(step)), 0}, codes);
    const RunFit fit = fit_of<16>(x, codes, false);
    best.offer(fit, nearest_codes<16, -32, 31>(x, fit, codes));
  }
  return best.fit;
}

struct SignedBlock {
  half d{};
  std::array<std::int8_t, 16> scales{};
  std::array<std::int8_t, 256> codes{};
  float error = 0;
};

inline SignedBlock block_with(const float* x, const std::array<RunFit, 16>& fits) {
  SignedBlock block;
  const RunFit largest = *std::ranges::max_element(fits, {}, [](const RunFit& fit) { return std::abs(fit.scale); });
  block.d = scale_half(largest.scale / -128);
  const float d = to_float(block.d);
  for (std::size_t run = 0; run < 16; ++run) {
    const int rounded = d != 0 ? int(std::clamp(std::nearbyint(fits[run].scale / d), -128.0f, 127.0f)) : 0;
    float codes[16];
    float least = INFINITY;
    for (int s = std::max(rounded - 1, -128); s <= std::min(rounded + 1, 127); ++s) {
      const float error = nearest_codes<16, -32, 31>(x + 16 * run, {d * float(s), 0}, codes);
      if (!(error < least)) continue;
      least = error;
      block.scales[run] = std::int8_t(s);
      std::transform(codes, codes + 16, block.codes.begin() + 16 * std::ptrdiff_t(run), stored_code);
    }
    block.error += least;
  }
  return block;
}

IVL_INLINE void quantise_block(const float* x, Q6K::Block& to) {
  std::array<RunFit, 16> searched, plain;
  for (std::size_t run = 0; run < 16; ++run) {
    searched[run] = searched_fit_of_16(x + 16 * run);
    plain[run] = lowest_code_fit(x + 16 * run);
  }
  const SignedBlock a = block_with(x, searched), b = block_with(x, plain);
  const SignedBlock& block = b.error < a.error ? b : a;
  to.d = block.d;
  std::ranges::copy(block.scales, to.scales);
  for (std::size_t k = 0; k < 256; ++k) {
    const std::size_t in_half = k % 128, group = in_half / 32, l = k % 32;
    const auto q = unsigned(block.codes[k] + 32);
    to.low[k / 128][l + 32 * (group % 2)] |= std::uint8_t((q & 15) << (group / 2 * 4));
    to.high[k / 128][l] |= std::uint8_t(q >> 4 << (2 * group));
  }
}

}  // namespace ivl::detail
