// Which way up a picture is, as the camera wrote it into the file.
//
// Read as Pillow reads it: what is malformed says nothing. Where Pillow raises an exception, so that transformers could
// not open the file at all, it says nothing here either.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// What a file says beside its pixels.
struct PictureNotes {
  std::optional<int> tag;              ///< a TIFF's own orientation
  std::optional<std::string> exif;     ///< a TIFF file, "Exif\0\0" before it or not
  std::optional<std::string> profile;  ///< the same in hexadecimal digits behind three lines, as ImageMagick writes it
  std::optional<std::string> xmp;
};

/// Exif's orientation, 1 to 8; 1, as stored, where the file says none. A tag comes before Exif, and that before XMP.
int orientation_of(const PictureNotes& notes);

/// Whether this orientation makes a picture's width its height.
constexpr bool swaps_sides(int orientation) { return orientation >= 5; }

/// The picture upright: mirrored and turned as its orientation, 1 to 8, asks for.
Image turned(Image image, int orientation);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/exif.ipp"
#endif
