// Numbers as blocks of Q4_K, Q5_K and Q6_K. For each run of a block a few scales are tried, each with the codes that
// are nearest and then the scale (and minimum) of least squared error for those codes; then the neighbours of the
// rounded scales. The error of a block is at most that of plain rounding between its runs' extremes, which is tried
// too.
#pragma once
#include <cmath>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/q4_k.hpp"
#include "ivl/formats/q5_k.hpp"
#include "ivl/formats/q6_k.hpp"

namespace ivl::detail {

/// `scale` as blocks store it. Throws FileError where it is beyond a half.
inline half scale_half(float scale) {
  const half rounded = round_to<half>(scale);
  if (!std::isfinite(to_float(rounded))) fail<FileError>("the scale of a block is ", scale, ", beyond what f16 holds");
  return rounded;
}

/// 256 numbers into a block of zeros.
void quantise_block(const float* x, Q4K::Block& to);
void quantise_block(const float* x, Q5K::Block& to);
void quantise_block(const float* x, Q6K::Block& to);

}  // namespace ivl::detail

#ifndef IVL_COMPILED
#include "ivl/formats/quantise_k.ipp"
#endif
