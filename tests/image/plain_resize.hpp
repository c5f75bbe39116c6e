// The resampler again, one sum a pixel, written from Pillow's description and sharing nothing with the library.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ivl/image/image.hpp"

namespace ivl::test {

/// Every step rounds to double: a volatile product cannot be fused into a sum.
inline double cubic(double x) {
  x = std::fabs(x);
  volatile double y;
  if (x < 1) {
    y = 1.5 * x;
    y = y - 2.5;
    y = y * x;
    y = y * x;
    return y + 1;
  }
  if (x < 2) {
    y = x - 5;
    y = y * x;
    y = y + 8;
    y = y * x;
    y = y - 4;
    return y * -0.5;
  }
  return 0;
}

/// One axis: the source of `target` output pixels, each [first, first + weights) with 22-bit weights.
struct PlainTaps {
  int first;
  std::vector<std::int64_t> weights;
};

inline PlainTaps plain_taps(int source, int target, int at) {
  const double scale = double(source) / target, stretch = scale < 1 ? 1 : scale, support = 2 * stretch;
  const volatile double centre = (at + 0.5) * scale, shrink = 1 / stretch;
  PlainTaps taps{std::max(0, int(centre - support + 0.5)), {}};
  const int last = std::min(source, int(centre + support + 0.5));
  std::vector<double> weights;
  double sum = 0;
  for (int i = taps.first; i < last; ++i) {
    const volatile double distance = (i - centre + 0.5) * shrink;
    weights.push_back(cubic(distance));
    sum += weights.back();
  }
  for (const double weight : weights)
    taps.weights.push_back(std::int64_t(std::trunc(weight / sum * 4194304 + (weight < 0 ? -0.5 : 0.5))));
  return taps;
}

inline Image plain_resize(const Image& source, int width, int height) {
  const auto level = [](std::int64_t sum) {
    return std::uint8_t(std::clamp<std::int64_t>((sum + (1 << 21)) >> 22, 0, 255));
  };
  Image across{width, source.height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(source.height) * 3)};
  for (int x = 0; x < width; ++x) {
    const PlainTaps taps = plain_taps(source.width, width, x);
    for (int y = 0; y < source.height; ++y) {
      for (int c = 0; c < 3; ++c) {
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < taps.weights.size(); ++i)
          sum += taps.weights[i] * source.row(y)[3 * (std::size_t(taps.first) + i) + std::size_t(c)];
        across.rgb[(std::size_t(y) * std::size_t(width) + std::size_t(x)) * 3 + std::size_t(c)] = level(sum);
      }
    }
  }
  Image result{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  for (int y = 0; y < height; ++y) {
    const PlainTaps taps = plain_taps(source.height, height, y);
    for (int i = 0; i < width * 3; ++i) {
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < taps.weights.size(); ++k) sum += taps.weights[k] * across.row(taps.first + int(k))[i];
      result.rgb[std::size_t(y) * std::size_t(width) * 3 + std::size_t(i)] = level(sum);
    }
  }
  return result;
}

}  // namespace ivl::test
