// Transparency on white, as Pillow's alpha_composite puts it there.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ivl/image/image.hpp"
#include "ivl/image/scan.hpp"

namespace ivl::detail {

/// A colour on white, in Pillow's integer arithmetic.
inline std::uint8_t on_white(std::uint8_t colour, std::uint8_t alpha) {
  const std::uint32_t scaled = (std::uint32_t(colour) * alpha + 255u * (255u - alpha) + 128u) << 7;
  return std::uint8_t(((scaled >> 8) + scaled) >> 8 >> 7);
}

/// Puts the pixels of a PNG's tRNS chunk on white: those of one colour. Pillow compares colours of 8 bits with the low
/// byte of what the chunk says, also where the file's samples have another number of bits.
inline void whiten_colour(Image& image, const ImageHeader& header) {
  const std::size_t samples = header.grey() ? 1 : 3;
  if (header.has_alpha() || header.transparency.size() < 2 * samples) return;
  std::uint8_t colour[3];
  for (std::size_t c = 0; c < 3; ++c) colour[c] = std::uint8_t(header.transparency[2 * std::min(c, samples - 1) + 1]);
  for (std::size_t i = 0; i < image.rgb.size(); i += 3) {
    if (std::equal(colour, colour + 3, &image.rgb[i])) std::fill_n(&image.rgb[i], 3, std::uint8_t(255));
  }
}

/// A palette's colours on white.
inline void whiten_palette(ImageHeader& header) {
  for (std::size_t i = 0; i < std::min<std::size_t>(256, header.transparency.size()); ++i) {
    for (std::size_t c = 3 * i; c < 3 * i + 3; ++c)
      header.colours[c] = on_white(header.colours[c], std::uint8_t(header.transparency[i]));
  }
}

}  // namespace ivl::detail
