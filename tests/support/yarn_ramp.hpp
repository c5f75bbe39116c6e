// YaRN's ramp between frequencies that stay and frequencies that are divided, in double (transformers'
// _compute_yarn_parameters).
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>

#include "ivl/facts/rope.hpp"

namespace ivl_test {

struct YarnRamp {
  double low, high;

  YarnRamp(const ivl::RopeFacts& facts, int head_dim) {
    const auto turning = [&](double turns) {
      return head_dim * std::log(facts.context / (2 * std::numbers::pi * turns)) / (2 * std::log(facts.base));
    };
    low = turning(facts.beta_fast);
    high = turning(facts.beta_slow);
    if (facts.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, head_dim - 1.0);
    if (low == high) high += 0.001;
  }

  /// Of pair i: 0 keeps its frequency, 1 divides it by the factor.
  double at(int i) const { return std::clamp((i - low) / (high - low), 0.0, 1.0); }
  /// What float makes of it at most: its ends, a difference and a quotient round, and it cancels to 1 / (high - low) of
  /// them. (`low` is not negative.)
  double error_at(int i) const { return (2 + 2 * (i + low) / std::abs(high - low)) * 0x1p-24; }
};

}  // namespace ivl_test
