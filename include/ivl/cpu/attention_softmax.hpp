// The online softmax of attention (Milakov and Gimelshein, arXiv 1805.02867): block after block of scores joins what
// the blocks before it left.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

inline constexpr double log2_e = 1.4426950408889634;  ///< e^x = 2^(x log2_e): scores become powers of two
/// Running softmax of a tile: out = sum of 2^(score - max) v, sum = sum of 2^(score - max); scores are in powers of
/// two.
struct Running {
  float* max;  ///< [rows]
  float* sum;  ///< [rows]
  float* out;  ///< [rows, head_dim]

  static std::int64_t floats(std::int64_t rows, int head_dim) { return rows * (head_dim + 2); }
  static Running at(float* memory, std::int64_t rows, int head_dim) {
    return {memory + rows * head_dim, memory + rows * head_dim + rows, memory};
  }
};

/// Row r of `part` joins row r of `total`.
inline void combine(Running total, Running part, int row, int head_dim) {
  const float max = std::max(total.max[row], part.max[row]);
  alignas(line_bytes) float powers[lanes] = {total.max[row] - max, part.max[row] - max};
  exp2(Lanes::load(powers)).store(powers);
  total.max[row] = max;
  total.sum[row] = total.sum[row] * powers[0] + part.sum[row] * powers[1];
  float* to = total.out + row * head_dim;
  const float* from = part.out + row * head_dim;
  for (int i = 0; i < head_dim; i += lanes) {
    fma(Lanes::load(to + i), Lanes::of(powers[0]), Lanes::load(from + i) * Lanes::of(powers[1])).store(to + i);
  }
}

/// Rounds. `exp2` gives nothing subnormal, so the CPU's own rounding, which would take that as zero, is right here:
/// 3 % of a picture's attention.
template <class Probability>
void store_probability(Lanes p, Probability* to) {
#if defined(IVL_AVX512_BF16)
  if constexpr (std::is_same_v<Probability, bf16>) {
    const __m256bh rounded = _mm512_cvtneps_pbh(p.v);
    std::memcpy(to, &rounded, sizeof rounded);
    return;
  }
#endif
  p.store(to);
}

/// Scores of a row become probabilities: those of keys [seen, limit), of `number`; the others become zero. Both buffers
/// have room for `number` rounded up to whole lanes. Returns 2^(old highest - new highest).
template <class Probability>
float soften(const float* scores, int first, int seen, int limit, int number, float scale, float& highest, Lanes& sums,
             Probability* p) {
  const Lanes lowest = Lanes::of(-std::numeric_limits<float>::infinity());
  // What stands at i and is seen; all of it from `whole` to `whole_end`.
  const auto only_seen = [=](Lanes some, int i, Lanes other) {
    if (limit < i + lanes) some = take_first(std::max(0, limit - i), some, other);
    return seen > i ? take_first(std::min(lanes, seen - i), other, some) : some;
  };
  const int begin = seen / lanes * lanes, whole = int(round_up(seen, lanes)), whole_end = limit / lanes * lanes;
  Lanes top = lowest;
  for (int i = begin; i < limit; i += lanes) {
    const Lanes some = Lanes::load(scores + i);
    top = max(top, i >= whole && i < whole_end ? some : only_seen(some, i, lowest));
  }
  const float old = highest;
  highest = std::max(old, largest(top) * scale);
  const Lanes factor = Lanes::of(scale), shift = Lanes::of(-highest);
  const Lanes fade = exp2(Lanes::of(old - highest));
  sums = sums * fade;
  for (int i = first; i < begin; i += lanes) store_probability(Lanes::zero(), p + i);
  for (int i = begin; i < number; i += lanes) {
    Lanes some = exp2(fma(Lanes::load(scores + i), factor, shift));
    if (i < whole || i >= whole_end) some = only_seen(some, i, Lanes::zero());
    sums = sums + some;
    store_probability(some, p + i);
  }
  return largest(fade);  // all lanes are alike
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
