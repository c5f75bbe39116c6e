// PNG, JPEG, WebP, GIF, BMP and TIFF files to 8-bit RGB.
//
// The pixels are the bytes of Pillow's `convert("RGB")`: 16-bit grey is clipped at 255; other 16-bit kinds keep their
// upper byte. libjpeg-turbo decodes JPEG where IVL_LIBJPEG is defined, libwebp WebP where IVL_LIBWEBP is, and libtiff
// TIFF where IVL_LIBTIFF is: ivl's CMake targets define them where they find the libraries. Without the first stb_image
// decodes JPEG, whose inverse DCT and chroma upsampling differ by up to about 4 levels; without the others WebP and
// TIFF are refused. GIF and BMP are read here. Files that Pillow misreads are refused, each by its name.
//
// stb_image (Debian: libstb-dev) is compiled with internal linkage into every file that has the bodies. It trusts its
// input more than we do. So a file's structure is walked over before a decoder sees the file: this bounds the size,
// finds truncation, and keeps out what stb_image would decode differently from Pillow.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// What a picture may ask of us, checked before anything is decoded.
struct ImageLimits {
  int side_px = 16384;
  std::int64_t pixels = std::int64_t(1) << 27;
  std::int64_t file_bytes = std::int64_t(1) << 29;  // below 2^31
};

/// Which way up a picture comes.
enum class Orientation : std::uint8_t {
  stored,   ///< as its pixels are stored: what the model cards' code does, through Pillow, which turns TIFFs itself
  upright,  ///< turned as its Exif or XMP block says: what transformers does (Pillow's ImageOps.exif_transpose)
};

/// What becomes of transparency.
enum class Alpha : std::uint8_t {
  drop,   ///< colours as they are stored, whatever lies under alpha 0: Pillow's `convert("RGB")`
  white,  ///< on white: Pillow's `alpha_composite`, onto white, of `convert("RGBA")`, which knows tRNS too
};

struct DecodeOptions {
  Orientation orientation = Orientation::stored;
  Alpha alpha = Alpha::drop;
  ImageLimits limits = {};
};

/// The size of what `decode_image` gives. Walks over the file's structure and decodes nothing, so a file that is cut,
/// or too large, is found here. Throws ImageError.
PixelSize size_of_image(std::span<const std::byte> file, std::string_view name, const DecodeOptions& options = {});

/// Decodes a file of one of these kinds, of several pictures in it the first; `name` is for messages. Throws
/// ImageError.
Image decode_image(std::span<const std::byte> file, std::string_view name, const DecodeOptions& options = {});

/// The bytes of a file, if they are no more than the limits say. Throws FileError, ImageError.
std::vector<std::byte> read_image_file(const std::filesystem::path& path, const ImageLimits& limits = {});

/// Reads and decodes such a file. Throws FileError, ImageError.
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/decode.ipp"
#endif
