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

#include "ivl/core/error.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/exif.hpp"

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
  int bits = 8;                              // a sample
  int colour_type = 2;                       // of a PNG
  std::vector<std::size_t> transparency_at;  // where the types of tRNS chunks stand
  std::string transparency;                  // the last one's data
  std::vector<std::uint8_t> colours;         // [256, 3] of a palette
  PictureNotes notes;

  bool grey() const { return colour_type == 0; }
  bool palette() const { return colour_type == 3; }
  bool has_alpha() const { return colour_type == 4 || colour_type == 6; }
};

/// What a zlib stream holds; nothing where it is broken, or holds more than a camera writes.
inline std::string inflated(std::string_view stream) {
  stb_most_bytes = std::size_t(1) << 20;
  int bytes = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      stbi_zlib_decode_malloc_guesssize(stream.data(), int(stream.size()), 1 << 12, &bytes), std::free);
  return text ? std::string(text.get(), std::size_t(bytes)) : std::string();
}

/// Notes in the text chunks of a PNG: `type` is tEXt, zTXt or iTXt.
inline void take_text(std::string_view type, std::string_view data, PictureNotes& notes) {
  const auto take_until_zero = [&] {
    const std::string_view taken = data.substr(0, data.find('\0'));
    data.remove_prefix(std::min(data.size(), taken.size() + 1));
    return taken;
  };
  const std::string_view keyword = take_until_zero();
  const bool profile = keyword == "Raw profile type exif", xmp = keyword == "XML:com.adobe.xmp";
  if (!profile && !xmp) return;
  bool compressed = false;
  if (type == "zTXt") {
    compressed = true;
    data.remove_prefix(std::min<std::size_t>(data.size(), 1));  // the method
  } else if (type == "iTXt") {
    if (data.size() < 2) return;
    compressed = data[0] != 0;
    data.remove_prefix(2);
    take_until_zero();  // language
    take_until_zero();  // translated keyword
  }
  (profile ? notes.profile : notes.xmp) = compressed ? inflated(data) : std::string(data);
}

/// Notes in an APP1 segment of a JPEG. An Exif block may be cut over several.
inline void take_app1(std::string_view data, PictureNotes& notes) {
  const std::string_view exif("Exif\0\0", 6), xmp("http://ns.adobe.com/xap/1.0/\0", 29);
  if (data.starts_with(exif))
    notes.exif = notes.exif ? *notes.exif + std::string(data.substr(exif.size())) : std::string(data);
  else if (data.starts_with(xmp))
    notes.xmp = data.substr(xmp.size());
}

inline std::string_view text_of_bytes(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

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
      header.colour_type = int(in.number(1, "colour type"));
      if (header.palette() && header.bits > 8) {
        fail<ImageError>(name, ": expected a palette PNG of at most 8 bits, found ", header.bits);
      }
      in.skip(3, "IHDR chunk");
    } else {
      const std::size_t data_at = in.at();
      in.skip(bytes, shown + " chunk");
      const std::string_view data = text_of_bytes(file.subspan(data_at, bytes));
      if (is("PLTE") && header.palette()) {
        if (bytes % 3 != 0 || bytes > 256 * 3) {
          fail<ImageError>(name, ": expected a palette of at most 256 colours, found ", bytes, " bytes");
        }
        header.colours.assign(256 * 3, 0);  // black where PLTE is short, as in Pillow
        std::memcpy(header.colours.data(), file.data() + data_at, bytes);
      } else if (is("tRNS")) {
        header.transparency_at.push_back(type_at);
        header.transparency = data;
      } else if (is("eXIf")) {
        header.notes.exif = data;
      } else if (is("tEXt") || is("zTXt") || is("iTXt")) {
        take_text(shown, data, header.notes);
      } else if ((type >> 29 & 1) == 0 && !is("IDAT") && !is("PLTE") && !is("IEND")) {
        fail<ImageError>(name, ": the PNG chunk ", shown, " is not known, and must be");
      }
    }
    in.skip(4, "checksum");
    if (is("IEND")) {
      if (header.palette() && header.colours.empty())
        fail<ImageError>(name, ": expected a PLTE chunk in a palette PNG");
      return header;
    }
  }
}

/// Reads the segments of a JPEG up to its end-of-image marker.
inline ImageHeader scan_jpeg(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(2, "signature");
  ImageHeader header;
  bool scanned = false;  // readers look for notes no further
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
    scanned = scanned || marker == 0xda;
    if (marker == 0xe1 && !scanned && rest <= file.size() - in.at())
      take_app1(text_of_bytes(file.subspan(in.at(), rest)), header.notes);
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

/// The header of a file that keeps to its limits.
inline ImageHeader scan_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits) {
  if (std::int64_t(file.size()) > limits.file_bytes) {
    fail<ImageError>(name, ": expected a file of at most ", limits.file_bytes, " bytes, found ", file.size());
  }
  const std::string_view text = text_of_bytes(file);
  const bool png = text.starts_with("\x89PNG\r\n\x1a\n");
  if (!png && !text.starts_with("\xff\xd8\xff"))
    fail<ImageError>(name, ": expected a PNG or JPEG file, found neither's signature in ", file.size(), " bytes");

  ImageHeader header = png ? scan_png(file, name) : scan_jpeg(file, name);
  const std::uint64_t width = header.width, height = header.height;
  if (width == 0 || height == 0) fail<ImageError>(name, ": expected at least one pixel, found ", width, " x ", height);
  if (width > std::uint64_t(limits.side_px) || height > std::uint64_t(limits.side_px) ||
      width * height > std::uint64_t(limits.pixels)) {
    fail<ImageError>(name, ": expected at most ", limits.side_px, " pixels a side and ", limits.pixels,
                     " in all, found ", width, " x ", height);
  }
  return header;
}

/// A colour on white, in the integer arithmetic of Pillow's alpha_composite.
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

}  // namespace detail

IVL_INLINE PixelSize size_of_image(std::span<const std::byte> file, std::string_view name,
                                   const DecodeOptions& options) {
  const detail::ImageHeader header = detail::scan_image(file, name, options.limits);
  const PixelSize size{int(header.width), int(header.height)};
  const bool swaps = options.orientation == Orientation::upright && swaps_sides(orientation_of(header.notes));
  return swaps ? PixelSize{size.height, size.width} : size;
}

IVL_INLINE Image decode_image(std::span<const std::byte> file, std::string_view name, const DecodeOptions& options) {
  detail::ImageHeader header = detail::scan_image(file, name, options.limits);
  const std::size_t width = header.width, height = header.height;
  const bool whitens = options.alpha == Alpha::white;

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
  detail::stb_most_bytes = (width + 64) * (height + 64) * 16 + (1 << 20) + 2 * file.size();
  const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const auto clipped = [](std::uint16_t level) { return std::uint8_t(std::min<int>(level, 255)); };
  const bool deep_grey = header.grey() && header.bits == 16;
  const bool blends = whitens && header.has_alpha();
  const int channels = deep_grey || header.palette() ? 1 : blends ? 4 : 3;
  int found_width = 0, found_height = 0, found_channels = 0;
  std::unique_ptr<void, void (*)(void*)> pixels(
      deep_grey
          ? static_cast<void*>(
                stbi_load_16_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, 1))
          : stbi_load_from_memory(bytes, int(file.size()), &found_width, &found_height, &found_channels, channels),
      std::free);
  if (!pixels) fail<ImageError>(name, ": cannot decode the picture: ", stbi_failure_reason());
  if (found_width != int(width) || found_height != int(height)) {
    fail<ImageError>(name, ": expected ", width, " x ", height, " pixels, found ", found_width, " x ", found_height);
  }

  Image image{int(width), int(height), {}};
  const std::size_t number = width * height;
  const auto* levels = static_cast<const std::uint8_t*>(pixels.get());
  if (whitens && header.palette()) detail::whiten_palette(header);
  image.rgb.resize(3 * number);
  const int index_step = header.palette() ? 255 / ((1 << header.bits) - 1) : 1;  // stb_image stretches levels to 255
  for (std::size_t i = 0; i < number; ++i) {
    std::uint8_t* out = &image.rgb[3 * i];
    if (deep_grey) {
      std::fill_n(out, 3, clipped(static_cast<const std::uint16_t*>(pixels.get())[i]));
    } else if (header.palette()) {
      std::memcpy(out, &header.colours[std::size_t(levels[i] / index_step * 3)], 3);
    } else if (blends) {
      for (std::size_t c = 0; c < 3; ++c) out[c] = detail::on_white(levels[4 * i + c], levels[4 * i + 3]);
    } else {
      std::memcpy(out, levels + 3 * i, 3);
    }
  }
  pixels.reset();  // a picture that is turned needs the room
  if (whitens && !header.palette()) detail::whiten_colour(image, header);
  return options.orientation == Orientation::upright ? turned(std::move(image), orientation_of(header.notes)) : image;
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
