// What pixel values are measured by.
#pragma once
#include "ivl/core/error.hpp"

namespace ivl {

/// image_mean and image_std of preprocessor_config.json, of levels scaled to [0, 1]; ImageNet's by default.
struct PixelStatistics {
  float mean[3] = {0.485f, 0.456f, 0.406f};
  float deviation[3] = {0.229f, 0.224f, 0.225f};

  bool operator==(const PixelStatistics&) const = default;
};

/// Throws ConfigError if a value is not finite or a deviation is not positive.
inline void check_statistics(const PixelStatistics& statistics) {
  for (int colour = 0; colour < 3; ++colour) {
    const float mean = statistics.mean[colour], deviation = statistics.deviation[colour];
    if (!(deviation > 0 && deviation < 1e6f && mean > -1e6f && mean < 1e6f)) {
      fail<ConfigError>("image_mean, image_std: expected numbers and a positive image_std, found ", mean, " and ",
                        deviation, " for colour ", colour);
    }
  }
}

}  // namespace ivl
