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
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/decode.hpp"

namespace ivl::detail {

/// Bytes that stb_image may ask for at once in this thread: a file's size says nothing about what it inflates to.
inline thread_local std::size_t stb_most_bytes = 0;
/// Zeros, because a file may leave out what fills a table or a picture.
inline void* stb_allocate(std::size_t bytes) { return bytes <= stb_most_bytes ? std::calloc(1, bytes) : nullptr; }
inline void* stb_realloc(void* data, std::size_t bytes) {
  return bytes <= stb_most_bytes ? std::realloc(data, bytes) : nullptr;
}

}  // namespace ivl::detail

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#endif
#if defined(__clang__)  // coefficients of a hostile JPEG overflow an int; they wrap, and give a picture as good as any
#pragma clang attribute push(__attribute__((no_sanitize("signed-integer-overflow", "shift"))), apply_to = function)
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_MALLOC(bytes) ::ivl::detail::stb_allocate(bytes)
#define STBI_REALLOC(data, bytes) ::ivl::detail::stb_realloc(data, bytes)
#define STBI_FREE(data) std::free(data)
#include <stb/stb_image.h>
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_PNG
#undef STBI_NO_STDIO
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_FREE
#if defined(__clang__)
#pragma clang attribute pop
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace ivl {

namespace detail {

/// Big-endian reads from a file image; a read beyond the end throws.
class FileReader {
 public:
  FileReader(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}
  std::size_t at() const { return at_; }
  bool ended() const { return at_ == file_.size(); }
  void skip(std::size_t bytes, std::string_view what) {
    if (bytes > file_.size() - at_) {
      fail<ImageError>(name_, ": truncated: expected ", bytes, " bytes of ", what, " at ", at_, ", found ",
                       file_.size() - at_);
    }
    at_ += bytes;
  }
  std::uint32_t number(int bytes, std::string_view what) {
    skip(std::size_t(bytes), what);
    std::uint32_t value = 0;
    for (std::size_t i = at_ - std::size_t(bytes); i < at_; ++i) value = value << 8 | std::uint32_t(file_[i]);
    return value;
  }

 private:
  std::span<const std::byte> file_;
  std::string_view name_;
  std::size_t at_ = 0;
};

struct ImageHeader {
  std::uint32_t width = 0, height = 0;
  int bits = 8;                           // a sample
  bool grey = false;                      // PNG colour type 0
  bool palette = false;                   // PNG colour type 3
  std::vector<std::size_t> transparency;  // where the types of tRNS chunks stand
  std::vector<std::uint8_t> colours;      // [256, 3] of a palette
};

/// Reads the chunks of a PNG up to IEND.
inline ImageHeader scan_png(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(8, "signature");
  ImageHeader header;
  for (bool first = true;; first = false) {
    const std::uint32_t bytes = in.number(4, "chunk length");
    const std::size_t type_at = in.at();
    const std::uint32_t type = in.number(4, "chunk type");
    const auto is = [&](const char(&text)[5]) { return std::memcmp(file.data() + type_at, text, 4) == 0; };
    const std::string shown(reinterpret_cast<const char*>(file.data()) + type_at, 4);
    const auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
    if (!std::all_of(shown.begin(), shown.end(), is_letter)) {
      fail<ImageError>(name, ": expected a PNG chunk type of four letters at ", type_at, ", found other bytes");
    }
    if (first != is("IHDR")) fail<ImageError>(name, ": expected one IHDR chunk at the start of a PNG");
    if (first) {
      if (bytes != 13) fail<ImageError>(name, ": expected an IHDR chunk of 13 bytes, found ", bytes);
      header.width = in.number(4, "width");
      header.height = in.number(4, "height");
      header.bits = int(in.number(1, "bit depth"));
      const std::uint32_t colour_type = in.number(1, "colour type");
      header.grey = colour_type == 0;
      header.palette = colour_type == 3;
      if (header.palette && header.bits > 8) {
        fail<ImageError>(name, ": expected a palette PNG of at most 8 bits, found ", header.bits);
      }
      in.skip(3, "IHDR chunk");
    } else {
      const std::size_t data_at = in.at();
      in.skip(bytes, shown + " chunk");
      if (is("PLTE") && header.palette) {
        if (bytes % 3 != 0 || bytes > 256 * 3) {
          fail<ImageError>(name, ": expected a palette of at most 256 colours, found ", bytes, " bytes");
        }
        header.colours.assign(256 * 3, 0);  // black where PLTE is short, as in Pillow
        std::memcpy(header.colours.data(), file.data() + data_at, bytes);
      } else if (is("tRNS")) {
        header.transparency.push_back(type_at);
      } else if ((type >> 29 & 1) == 0 && !is("IDAT") && !is("PLTE") && !is("IEND")) {
        fail<ImageError>(name, ": the PNG chunk ", shown, " is not known, and must be");
      }
    }
    in.skip(4, "checksum");
    if (is("IEND")) {
      if (header.palette && header.colours.empty()) fail<ImageError>(name, ": expected a PLTE chunk in a palette PNG");
      return header;
    }
  }
}

/// Reads the segments of a JPEG up to its end-of-image marker.
inline ImageHeader scan_jpeg(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(2, "signature");
  ImageHeader header;
  for (;;) {
    // Compressed data escapes 0xff as ff 00, so that the next ff with another byte behind it is a marker.
    std::uint32_t marker = 0;
    while (marker == 0) {
      while (in.number(1, "image data (no end-of-image marker)") != 0xff) {
      }
      do {
        marker = in.number(1, "marker");
      } while (marker == 0xff);
    }
    if (marker == 0xd9) {
      if (header.width == 0) fail<ImageError>(name, ": expected a frame header before the end of the image");
      return header;
    }
    if ((marker >= 0xd0 && marker <= 0xd8) || marker == 0x01) continue;  // no length
    const std::uint32_t bytes = in.number(2, "segment length");
    if (bytes < 2)
      fail<ImageError>(name, ": expected a segment of at least 2 bytes at ", in.at() - 2, ", found ", bytes);
    std::uint32_t rest = bytes - 2;
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      if (marker > 0xc2)
        fail<ImageError>(name, ": expected a baseline or progressive JPEG, found kind ", marker - 0xc0);
      if (header.width != 0) fail<ImageError>(name, ": expected one frame header in a JPEG, found two");
      const std::uint32_t bits = in.number(1, "sample size");
      header.height = in.number(2, "height");
      header.width = in.number(2, "width");
      const std::uint32_t components = in.number(1, "number of components");
      if (bits != 8) fail<ImageError>(name, ": expected a JPEG of 8 bits a sample, found ", bits);
      if (components != 1 && components != 3) {
        fail<ImageError>(name, ": expected a grey or three-colour JPEG, found ", components,
                         " components (CMYK is not supported)");
      }
      if (header.width == 0 || header.height == 0) return header;
      rest -= std::min<std::uint32_t>(rest, 6);
    }
    while (marker == 0xc4 && rest > 0) {  // Huffman tables; stb_image 2.27 writes beyond its own if one is too long
      in.skip(1, "Huffman table number");
      std::uint32_t codes = 0;
      for (int length = 1; length <= 16; ++length) codes += in.number(1, "Huffman code count");
      if (codes > 256) fail<ImageError>(name, ": expected a Huffman table of at most 256 codes, found ", codes);
      if (codes + 17 > rest)
        fail<ImageError>(name, ": expected a Huffman table of at most ", rest, " bytes, found ", codes + 17);
      in.skip(codes, "Huffman table");
      rest -= codes + 17;
    }
    in.skip(rest, "segment");
  }
}

}  // namespace detail

IVL_INLINE Image decode_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  if (std::int64_t(file.size()) > limits.file_bytes) {
    fail<ImageError>(name, ": expected a file of at most ", limits.file_bytes, " bytes, found ", file.size());
  }
  const auto starts_with = [&](std::string_view signature) {
    return file.size() >= signature.size() && std::memcmp(file.data(), signature.data(), signature.size()) == 0;
  };
  const bool png = starts_with("\x89PNG\r\n\x1a\n"), jpeg = starts_with("\xff\xd8\xff");
  if (!png && !jpeg)
    fail<ImageError>(name, ": expected a PNG or JPEG file, found neither's signature in ", file.size(), " bytes");

  const detail::ImageHeader header = png ? detail::scan_png(file, name) : detail::scan_jpeg(file, name);
  const std::uint64_t width = header.width, height = header.height;
  if (width == 0 || height == 0) fail<ImageError>(name, ": expected at least one pixel, found ", width, " x ", height);
  if (width > std::uint64_t(limits.side_px) || height > std::uint64_t(limits.side_px) ||
      width * height > std::uint64_t(limits.pixels)) {
    fail<ImageError>(name, ": expected at most ", limits.side_px, " pixels a side and ", limits.pixels,
                     " in all, found ", width, " x ", height);
  }

  // stb_image expands a palette from uninitialised colours where an index lies beyond it: have it decode the indices,
  // as if they were grey levels, and look them up here.
  std::vector<std::byte> patched;
  if (header.palette) {
    patched.assign(file.begin(), file.end());
    patched[25] = std::byte{0};                                                               // colour type
    for (const std::size_t type_at : header.transparency) patched[type_at] = std::byte{'a'};  // ancillary, ignored
    file = patched;
  }
  // 16-bit RGBA, twice over because stb_image doubles its buffer; a JPEG, filled up to whole blocks, needs less.
  detail::stb_most_bytes = std::size_t((width + 64) * (height + 64) * 16 + (1 << 20)) + 2 * file.size();
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const auto clipped = [](std::uint16_t level) { return std::uint8_t(std::min<int>(level, 255)); };
  const bool deep_grey = header.grey && header.bits == 16;
  const int channels = deep_grey || header.palette ? 1 : 3;
  int found_width = 0, found_height = 0, found_channels = 0;
  const std::unique_ptr<void, void (*)(void*)> pixels(
      deep_grey
          ? static_cast<void*>(
                stbi_load_16_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, 1))
          : stbi_load_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, channels),
      std::free);
  if (!pixels) fail<ImageError>(name, ": cannot decode the ", png ? "PNG" : "JPEG", ": ", stbi_failure_reason());
  if (found_width != int(width) || found_height != int(height)) {
    fail<ImageError>(name, ": expected ", width, " x ", height, " pixels, found ", found_width, " x ", found_height);
  }

  Image image{int(width), int(height), {}};
  const std::size_t number = std::size_t(width * height);
  const auto* levels = static_cast<const std::uint8_t*>(pixels.get());
  if (channels == 3) {
    image.rgb.assign(levels, levels + 3 * number);
    return image;
  }
  image.rgb.resize(3 * number);
  const int index_step = header.palette ? 255 / ((1 << header.bits) - 1) : 1;  // stb_image stretches levels to 255
  for (std::size_t i = 0; i < number; ++i) {
    std::uint8_t* out = &image.rgb[3 * i];
    if (deep_grey) {
      std::fill_n(out, 3, clipped(static_cast<const std::uint16_t*>(pixels.get())[i]));
    } else {
      std::memcpy(out, &header.colours[std::size_t(levels[i] / index_step * 3)], 3);
    }
  }
  return image;
}

IVL_INLINE Image read_image(const std::filesystem::path& path, const ImageLimits& limits) {
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
  return decode_image(file, path.string(), limits);
}

}  // namespace ivl
