// WebP through libwebp: the picture, or the first frame of an animation. Only with IVL_LIBWEBP, which ivl's CMake
// targets define where they find the library.
#pragma once
#ifdef IVL_LIBWEBP
#include <webp/decode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/scan.hpp"
#include "ivl/image/white.hpp"

namespace ivl::detail {

/// The chunks of a RIFF file, one after another.
class RiffChunks {
 public:
  /// Those in `bytes`, which stand at `at` in the file.
  RiffChunks(std::span<const std::byte> bytes, std::size_t at, std::string_view name)
      : rest_(bytes), rest_at_(at), name_(name) {}

  std::string_view type;
  std::span<const std::byte> data;
  std::span<const std::byte> whole;  // with type and size
  std::size_t at = 0;                // of all that in the file

  /// Goes to the next chunk; false behind the last.
  bool next() {
    if (rest_.empty()) return false;
    const std::size_t size = rest_.size() < 8 ? 0 : number(rest_.subspan(4, 4)), bytes = 8 + size + size % 2;
    if (bytes > rest_.size()) {
      fail<ImageError>(name_, ": truncated: expected ", bytes, " bytes of a chunk at ", rest_at_, ", found ",
                       rest_.size());
    }
    type = text_of_bytes(rest_.first(4));
    whole = rest_.first(8 + size);
    data = whole.subspan(8);
    at = rest_at_;
    rest_ = rest_.subspan(bytes);
    rest_at_ += bytes;
    return true;
  }
  void expect_data(std::size_t bytes) const {
    if (data.size() < bytes)
      fail<ImageError>(name_, ": expected at least ", bytes, " bytes in the chunk at ", at, ", found ", data.size());
  }
  static std::uint32_t number(std::span<const std::byte> bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::uint32_t(bytes[i]);
    return value;
  }

 private:
  std::span<const std::byte> rest_;
  std::size_t rest_at_;
  std::string_view name_;
};

/// Takes a chunk if it is of the picture itself: ALPH, which comes first, VP8 or VP8L. True when the picture is whole.
inline bool take_webp_frame(const RiffChunks& chunk, std::string_view name, WebpFrame& frame) {
  const bool alpha = chunk.type == "ALPH", picture = chunk.type == "VP8 " || chunk.type == "VP8L";
  if (!alpha && !picture) return false;
  const std::byte* begin = frame.bytes.empty() ? chunk.whole.data() : frame.bytes.data();
  frame.bytes = {begin, chunk.whole.data() + chunk.whole.size()};
  if (alpha) return false;
  WebPBitstreamFeatures found{};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(frame.bytes.data());
  if (WebPGetFeatures(bytes, frame.bytes.size(), &found) != VP8_STATUS_OK)
    fail<ImageError>(name, ": expected a WebP picture in the chunk at ", chunk.at, ", found other bytes");
  frame.width = std::uint32_t(found.width);
  frame.height = std::uint32_t(found.height);
  frame.has_alpha = found.has_alpha != 0 && chunk.type == "VP8L";
  return true;
}

/// Takes the frame in an ANMF chunk, and checks it against what the chunk says of it.
inline void take_webp_animation(const RiffChunks& chunk, std::string_view name, WebpFrame& frame) {
  chunk.expect_data(16);
  const auto field = [&](std::size_t at) { return RiffChunks::number(chunk.data.subspan(at, 3)); };
  frame.x = 2 * field(0);
  frame.y = 2 * field(3);
  RiffChunks inner(chunk.data.subspan(16), chunk.at + 24, name);
  while (inner.next() && !take_webp_frame(inner, name, frame)) {
  }
  const std::uint32_t width = field(6) + 1, height = field(9) + 1;
  if (frame.width != width || frame.height != height) {
    fail<ImageError>(name, ": expected a frame of ", width, " x ", height, " pixels, found ", frame.width, " x ",
                     frame.height);
  }
}

/// Reads what stands behind VP8X: notes, and the picture or the first frame.
inline void scan_extended_webp(RiffChunks& chunk, std::string_view name, ImageHeader& header) {
  chunk.expect_data(10);
  const auto field = [&](std::size_t at, std::size_t bytes) {
    return RiffChunks::number(chunk.data.subspan(at, bytes));
  };
  const std::uint32_t flags = field(0, 1);
  const bool animated = flags & 2, has_xmp = flags & 4, has_exif = flags & 8, has_alpha = flags & 16;
  header.width = field(4, 3) + 1;
  header.height = field(7, 3) + 1;
  WebpFrame& frame = header.frame;
  while (chunk.next()) {
    if (chunk.type == "EXIF" && has_exif && !header.notes.exif) {
      header.notes.exif = text_of_bytes(chunk.data);
    } else if (chunk.type == "XMP " && has_xmp && !header.notes.xmp) {
      header.notes.xmp = text_of_bytes(chunk.data);
    } else if (frame.width == 0 && animated && chunk.type == "ANMF") {
      take_webp_animation(chunk, name, frame);
    } else if (frame.width == 0 && !animated) {
      take_webp_frame(chunk, name, frame);
    }
  }
  frame.has_alpha = has_alpha || (frame.has_alpha && !animated);  // Pillow obeys this flag but for a lossless still
  const bool fits = animated ? std::uint64_t(frame.x) + frame.width <= header.width &&
                                   std::uint64_t(frame.y) + frame.height <= header.height
                             : frame.width == header.width && frame.height == header.height;
  if (frame.width != 0 && !fits) {
    fail<ImageError>(name, ": expected a picture of ", header.width, " x ", header.height, " pixels, found ",
                     frame.width, " x ", frame.height, " at ", frame.x, ", ", frame.y);
  }
}

/// Reads the chunks of a WebP file.
inline ImageHeader scan_webp(std::span<const std::byte> file, std::string_view name) {
  const std::size_t bytes = 8 + std::size_t(RiffChunks::number(file.subspan(4, 4)));
  if (bytes > file.size())
    fail<ImageError>(name, ": truncated: expected ", bytes, " bytes of WebP, found ", file.size());
  RiffChunks chunk(file.subspan(12, std::max<std::size_t>(bytes, 12) - 12), 12, name);
  ImageHeader header;
  const bool extended = chunk.next() && chunk.type == "VP8X";
  if (extended) {
    scan_extended_webp(chunk, name, header);
  } else if (take_webp_frame(chunk, name, header.frame)) {
    header.width = header.frame.width;
    header.height = header.frame.height;
  }
  if (header.frame.width == 0) fail<ImageError>(name, ": expected a picture in a WebP file, found none");
  return header;
}

/// [height, width, 3]. Where a first frame leaves the canvas free, it is black and transparent.
inline std::vector<std::uint8_t> decode_webp(const ImageHeader& header, std::string_view name, bool whitens) {
  const WebpFrame& frame = header.frame;
  const std::size_t row = std::size_t(3) * header.width, width = frame.width, height = frame.height;
  const bool blends = whitens && frame.has_alpha;
  std::vector<std::uint8_t> rgb(row * header.height, std::uint8_t(blends ? 255 : 0));
  const std::size_t begin = frame.y * row + std::size_t(3) * frame.x;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(frame.bytes.data());
  std::vector<std::uint8_t> rgba(blends ? 4 * width * height : 0);
  const void* decoded = blends
                            ? WebPDecodeRGBAInto(bytes, frame.bytes.size(), rgba.data(), rgba.size(), int(4 * width))
                            : WebPDecodeRGBInto(bytes, frame.bytes.size(), &rgb[begin], rgb.size() - begin, int(row));
  if (decoded == nullptr) fail<ImageError>(name, ": cannot decode the picture: the WebP data are damaged");
  for (std::size_t i = 0; i < rgba.size() / 4; ++i) {
    std::uint8_t* out = &rgb[begin + i / width * row + i % width * 3];
    for (std::size_t c = 0; c < 3; ++c) out[c] = on_white(rgba[4 * i + c], rgba[4 * i + 3]);
  }
  return rgb;
}

}  // namespace ivl::detail
#endif
