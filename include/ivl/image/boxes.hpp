// Boxes in pictures.
#pragma once
#include <array>
#include <cstdint>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// In pixels from the upper left corner. Right and bottom are where the box ends: behind its last pixel.
struct PixelBox {
  double left = 0, top = 0, right = 0, bottom = 0;
  bool operator==(const PixelBox&) const = default;
};

/// A box of an answer (`AnswerBox::thousandths`) in a picture of `size` (`Picture::size`): each edge is n / 1000 of the
/// width or the height, as in the published evaluation of grounding. The picture is the one that the model was
/// given, before it was resized and cut; where it was turned upright the box is in the turned one.
PixelBox box_in_pixels(const std::array<double, 4>& thousandths, PixelSize size);

/// Draws a box's frame inside of its edges: every pixel that the box touches counts, and at least one is drawn. Edges
/// beyond the picture are cut to it. The frame is as wide as one 200th of the picture's shorter side, and 2 pixels at
/// least.
void draw_box(Image& picture, const PixelBox& box, const std::array<std::uint8_t, 3>& colour);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/boxes.ipp"
#endif
