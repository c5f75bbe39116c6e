// The bodies of rope.hpp.
#pragma once
#include <algorithm>
#include <cmath>

#include "ivl/ops/rope.hpp"

namespace ivl {

IVL_INLINE YarnRamp yarn_ramp(const RopeFacts& facts, int head_dim) {
  if (facts.kind != RopeKind::yarn) return {};
  // The dimension whose frequency turns so often within the context.
  const auto dimension = [&](double turns) {
    constexpr double two_pi = 6.283185307179586;
    return head_dim * std::log(facts.context / (turns * two_pi)) / (2 * std::log(facts.base));
  };
  double low = dimension(facts.beta_fast), high = dimension(facts.beta_slow);
  if (facts.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1.0);
  return {float(low), float(low == high ? 0.001 : high - low)};
}

}  // namespace ivl
