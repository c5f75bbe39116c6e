// A decoded picture.
#pragma once
#include <cstdint>
#include <vector>

namespace ivl {

/// 8-bit RGB, [height, width, 3], rows without padding.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;

  const std::uint8_t* row(int y) const { return rgb.data() + std::int64_t(y) * width * 3; }
  bool operator==(const Image&) const = default;
};

}  // namespace ivl
