// PNG and JPEG files to 8-bit RGB.
//
// A PNG gives the bytes of Pillow's `convert("RGB")`: alpha and tRNS are dropped, not composited; 16-bit grey is
// clipped at 255; other 16-bit kinds keep their upper byte. A JPEG is decoded by stb_image, whose inverse DCT and
// chroma upsampling differ from libjpeg-turbo's by up to about 4 levels. EXIF orientation is not applied, as in the
// model cards' code.
//
// stb_image (Debian: libstb-dev) is compiled with internal linkage into every file that has the bodies. It trusts its
// input more than we do. So the file's structure is walked over before stb_image sees the file: this bounds the size,
// finds truncation, and keeps out what stb_image would decode differently from Pillow.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// What a picture may ask of us, checked before anything is decoded.
struct ImageLimits {
  int side_px = 16384;
  std::int64_t pixels = std::int64_t(1) << 27;
  std::int64_t file_bytes = std::int64_t(1) << 29;  // below 2^31
};

/// Decodes a PNG or JPEG; `name` is for messages. Throws ImageError.
Image decode_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits = {});

/// Reads and decodes a PNG or JPEG file. Throws FileError, ImageError.
Image read_image(const std::filesystem::path& path, const ImageLimits& limits = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/decode.ipp"
#endif
