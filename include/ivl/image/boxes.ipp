// The bodies of boxes.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "ivl/image/boxes.hpp"

namespace ivl {

IVL_INLINE PixelBox box_in_pixels(const std::array<double, 4>& thousandths, PixelSize size) {
  return {thousandths[0] * size.width / 1000, thousandths[1] * size.height / 1000, thousandths[2] * size.width / 1000,
          thousandths[3] * size.height / 1000};
}

IVL_INLINE void draw_box(Image& picture, const PixelBox& box, const std::array<std::uint8_t, 3>& colour) {
  check_picture(picture);
  const auto first = [](double edge, int most) { return int(std::clamp(std::floor(edge), 0.0, double(most - 1))); };
  const auto behind = [](double edge, int begin, int most) {
    return int(std::clamp(std::ceil(edge), double(begin + 1), double(most)));
  };
  const int left = first(box.left, picture.width), top = first(box.top, picture.height);
  const int right = behind(box.right, left, picture.width), bottom = behind(box.bottom, top, picture.height);
  const int frame = std::max(2, std::min(picture.width, picture.height) / 200);
  for (int y = top; y < bottom; ++y) {
    const bool whole_row = y < top + frame || y >= bottom - frame;
    for (int x = left; x < right; ++x) {
      if (!whole_row && x >= left + frame && x < right - frame) continue;
      std::copy(colour.begin(), colour.end(),
                picture.rgb.begin() + 3 * (std::ptrdiff_t(y) * picture.width + std::ptrdiff_t(x)));
    }
  }
}

}  // namespace ivl
