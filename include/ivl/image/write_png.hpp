// Pictures to PNG files.
#pragma once
#include <filesystem>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// Writes an 8-bit RGB PNG, by stb_image_write. Throws ImageError for a picture without pixels, FileError where the
/// file cannot be written.
void write_png(const std::filesystem::path& path, const Image& picture);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/write_png.ipp"
#endif
