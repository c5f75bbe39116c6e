// The pixel shuffle and the two-layer projector behind it.
#pragma once
#include <cstdint>

#include "ivl/config/vit.hpp"
#include "ivl/facts/shuffle_order.hpp"

namespace ivl {

struct ProjectorConfig {
  int scale = 2;  ///< 1 / downsample_ratio: a block of scale x scale patches becomes one token
  ShuffleOrder order = ShuffleOrder::v2;

  constexpr int input(const VitConfig& vit) const { return vit.hidden * scale * scale; }
  constexpr int tokens_per_tile(const VitConfig& vit) const { return vit.patches() / (scale * scale); }
  bool operator==(const ProjectorConfig&) const = default;
};

constexpr std::int64_t parameters(const ProjectorConfig& c, const VitConfig& vit, std::int64_t hidden) {
  const std::int64_t in = c.input(vit);
  return 2 * in + (in * hidden + hidden) + (hidden * hidden + hidden);
}

}  // namespace ivl
