// A decoded picture.
#pragma once
#include <cstdint>
#include <vector>

#include "ivl/core/error.hpp"

namespace ivl {

/// A width and a height in pixels.
struct PixelSize {
  int width = 0;
  int height = 0;
};

/// 8-bit RGB, [height, width, 3], rows without padding.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;

  const std::uint8_t* row(int y) const { return rgb.data() + std::int64_t(y) * width * 3; }
  bool operator==(const Image&) const = default;
};

/// Throws ImageError unless the picture has at least one pixel, and the bytes that its size says.
inline void check_picture(const Image& picture) {
  if (picture.width < 1 || picture.height < 1 ||
      std::int64_t(picture.rgb.size()) != std::int64_t(picture.width) * picture.height * 3) {
    fail<ImageError>("picture: expected width * height * 3 bytes, found ", picture.width, " x ", picture.height,
                     " and ", picture.rgb.size(), " bytes");
  }
}

}  // namespace ivl
