// The bodies of decode.hpp.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <ios>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/bmp.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/exif.hpp"
#include "ivl/image/gif.hpp"
#include "ivl/image/jpeg.hpp"
#include "ivl/image/kind.hpp"
#include "ivl/image/scan.hpp"
#include "ivl/image/stb.hpp"
#include "ivl/image/tiff.hpp"
#include "ivl/image/webp.hpp"
#include "ivl/image/white.hpp"

namespace ivl {

namespace detail {

/// The header of a file of this kind, one that the build has.
inline ImageHeader scan_kind(PictureKind kind, std::span<const std::byte> file, std::string_view name) {
  switch (kind) {
    case PictureKind::png:
      return scan_png(file, name);
    case PictureKind::jpeg:
      return scan_jpeg(file, name);
    case PictureKind::gif:
      return scan_gif(file, name);
    case PictureKind::bmp:
      return scan_bmp(file, name);
#ifdef IVL_LIBWEBP
    case PictureKind::webp:
      return scan_webp(file, name);
#endif
#ifdef IVL_LIBTIFF
    case PictureKind::tiff:
      return scan_tiff(file, name);
#endif
    default:
      fail<ImageError>(name, ": ivl was built without a decoder for this kind of picture");
  }
}

/// The header of a file that keeps to its limits.
inline ImageHeader scan_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  if (std::int64_t(file.size()) > limits.file_bytes) {
    fail<ImageError>(name, ": expected a file of at most ", limits.file_bytes, " bytes, found ", file.size());
  }
  const PictureKind kind = kind_of_picture(text_of_bytes(file), name);
  ImageHeader header = scan_kind(kind, file, name);
  header.kind = kind;
  const std::uint64_t width = header.width, height = header.height;
  if (width == 0 || height == 0) fail<ImageError>(name, ": expected at least one pixel, found ", width, " x ", height);
  if (width > std::uint64_t(limits.side_px) || height > std::uint64_t(limits.side_px) ||
      width * height > std::uint64_t(limits.pixels)) {
    fail<ImageError>(name, ": expected at most ", limits.side_px, " pixels a side and ", limits.pixels,
                     " in all, found ", width, " x ", height);
  }
  return header;
}

/// [pixels, 3] of what stb_image gives: colours, colours with alpha to put on white, indices, or grey of 16 bits.
inline std::vector<std::uint8_t> rgb_of(const ImageHeader& header, const void* pixels, int channels) {
  const std::size_t number = std::size_t(header.width) * header.height;
  const auto* levels = static_cast<const std::uint8_t*>(pixels);
  if (channels == 3) return {levels, levels + 3 * number};
  std::vector<std::uint8_t> rgb(3 * number);
  const int index_step = header.palette() ? 255 / ((1 << header.bits) - 1) : 1;  // stb_image stretches levels to 255
  for (std::size_t i = 0; i < number; ++i) {
    std::uint8_t* out = &rgb[3 * i];
    if (header.palette()) {
      std::memcpy(out, &header.colours[std::size_t(levels[i] / index_step * 3)], 3);
    } else if (header.deep_grey()) {
      std::fill_n(out, 3, std::uint8_t(std::min<int>(static_cast<const std::uint16_t*>(pixels)[i], 255)));
    } else {
      for (std::size_t c = 0; c < 3; ++c) out[c] = on_white(levels[4 * i + c], levels[4 * i + 3]);
    }
  }
  return rgb;
}

/// [height, width, 3] of a PNG, or of a JPEG, by stb_image.
inline std::vector<std::uint8_t> decode_by_stb(std::span<const std::byte> file, std::string_view name,
                                               ImageHeader& header, bool whitens) {
  const std::size_t width = header.width, height = header.height;
  // stb_image expands a palette from uninitialised colours where an index lies beyond it: have it decode the indices,
  // as if they were grey levels, and look them up here. What tRNS says is not its own to apply either.
  std::vector<std::byte> patched;
  if (header.palette() || !header.transparency_at.empty()) {
    patched.assign(file.begin(), file.end());
    if (header.palette()) patched[25] = std::byte{0};                                            // colour type
    for (const std::size_t type_at : header.transparency_at) patched[type_at] = std::byte{'a'};  // ancillary, ignored
    file = patched;
  }
  // 16-bit RGBA, twice over because stb_image doubles its buffer; a JPEG, filled up to whole blocks, needs less.
  stb_most_bytes = (width + 64) * (height + 64) * 16 + (1 << 20) + 2 * file.size();
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const bool deep_grey = header.deep_grey();
  const int channels = deep_grey || header.palette() ? 1 : whitens && header.has_alpha() ? 4 : 3;
  int found_width = 0, found_height = 0, found_channels = 0;
  std::unique_ptr<void, void (*)(void*)> pixels(
      deep_grey
          ? static_cast<void*>(
                stbi_load_16_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, 1))
          : stbi_load_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, channels),
      std::free);
  if (!pixels) {
    const char* reason = stbi_failure_reason();  // null for a block of zlib's reserved kind
    fail<ImageError>(name, ": cannot decode the picture: ", reason ? reason : "the compressed data are damaged");
  }
  if (found_width != int(width) || found_height != int(height)) {
    fail<ImageError>(name, ": expected ", width, " x ", height, " pixels, found ", found_width, " x ", found_height);
  }

  if (whitens && header.palette()) whiten_palette(header);
  return rgb_of(header, pixels.get(), channels);
}

/// [height, width, 3], as stored.
inline std::vector<std::uint8_t> decode_pixels(std::span<const std::byte> file, std::string_view name,
                                               ImageHeader& header, bool whitens) {
  switch (header.kind) {
    case PictureKind::gif:
      return decode_gif(file, name, whitens);
    case PictureKind::bmp:
      return decode_bmp(file, name, whitens);
#ifdef IVL_LIBWEBP
    case PictureKind::webp:
      return decode_webp(header, name, whitens);
#endif
#ifdef IVL_LIBJPEG
    case PictureKind::jpeg:
      return decode_jpeg(file, name, header.width, header.height, header.components);
#endif
#ifdef IVL_LIBTIFF
    case PictureKind::tiff:
      return decode_tiff(file, name, whitens);
#endif
    default:
      return decode_by_stb(file, name, header, whitens);
  }
}

/// How a picture has to be turned. Pillow turns every TIFF when it is loaded.
inline int turn_of(const ImageHeader& header, const DecodeOptions& options) {
  const bool turns = options.orientation == Orientation::upright || header.kind == PictureKind::tiff;
  return turns ? orientation_of(header.notes) : 1;
}

}  // namespace detail

IVL_INLINE PixelSize size_of_image(std::span<const std::byte> file, std::string_view name,
                                   const DecodeOptions& options) {
  const detail::ImageHeader header = detail::scan_image(file, name, options.limits);
  const PixelSize size{int(header.width), int(header.height)};
  return swaps_sides(detail::turn_of(header, options)) ? PixelSize{size.height, size.width} : size;
}

IVL_INLINE Image decode_image(std::span<const std::byte> file, std::string_view name, const DecodeOptions& options) {
  detail::ImageHeader header = detail::scan_image(file, name, options.limits);
  const bool whitens = options.alpha == Alpha::white;
  Image image{int(header.width), int(header.height), detail::decode_pixels(file, name, header, whitens)};
  if (whitens && !header.palette()) detail::whiten_colour(image, header);
  return turned(std::move(image), detail::turn_of(header, options));
}

IVL_INLINE std::vector<std::byte> read_image_file(const std::filesystem::path& path, const ImageLimits& limits) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) fail<FileError>(path.string(), ": cannot read the image: ", error.message());
  if (bytes > std::uintmax_t(limits.file_bytes)) {
    fail<ImageError>(path.string(), ": expected a file of at most ", limits.file_bytes, " bytes, found ", bytes);
  }
  std::vector<std::byte> file(bytes);
  std::ifstream in(path, std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(file.data()), std::streamsize(bytes))) {
    fail<FileError>(path.string(), ": expected ", bytes, " bytes, found ", in.gcount());
  }
  return file;
}

IVL_INLINE Image read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  return decode_image(read_image_file(path, options.limits), path.string(), options);
}

}  // namespace ivl
