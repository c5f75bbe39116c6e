// The structure of PNG and JPEG files, walked over from end to end.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/exif.hpp"
#include "ivl/image/kind.hpp"
#include "ivl/image/stb.hpp"

namespace ivl::detail {

/// Reads from a file image, one behind the other; one beyond the end throws.
class FileReader {
 public:
  FileReader(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}
  std::size_t at() const { return at_; }
  bool ended() const { return at_ == file_.size(); }
  /// The next bytes.
  std::span<const std::byte> take(std::size_t bytes, std::string_view what) {
    if (bytes > file_.size() - at_) {
      fail<ImageError>(name_, ": truncated: expected ", bytes, " bytes of ", what, " at ", at_, ", found ",
                       file_.size() - at_);
    }
    at_ += bytes;
    return file_.subspan(at_ - bytes, bytes);
  }
  void skip(std::size_t bytes, std::string_view what) { (void)take(bytes, what); }
  /// A big-endian number.
  std::uint32_t number(int bytes, std::string_view what) {
    std::uint32_t value = 0;
    for (const std::byte byte : take(std::size_t(bytes), what)) value = value << 8 | std::uint32_t(byte);
    return value;
  }
  /// A little-endian number.
  std::uint32_t little(int bytes, std::string_view what) {
    std::uint32_t value = 0;
    int shift = 0;
    for (const std::byte byte : take(std::size_t(bytes), what)) {
      value |= std::uint32_t(byte) << shift;
      shift += 8;
    }
    return value;
  }

 private:
  std::span<const std::byte> file_;
  std::string_view name_;
  std::size_t at_ = 0;
};

/// Of a WebP file: the picture, or an animation's first frame, which may be smaller than the canvas.
struct WebpFrame {
  std::span<const std::byte> bytes;  // its chunks
  std::uint32_t x = 0, y = 0, width = 0, height = 0;
  bool has_alpha = false;
};

struct ImageHeader {
  PictureKind kind = PictureKind::png;
  std::uint32_t width = 0, height = 0;
  int bits = 8;         // a sample
  int colour_type = 2;  // of a PNG
  int components = 3;   // of a JPEG
  WebpFrame frame;
  std::vector<std::size_t> transparency_at;  // where the types of tRNS chunks stand
  std::string transparency;                  // the last one's data
  std::vector<std::uint8_t> colours;         // [256, 3] of a palette
  PictureNotes notes;

  bool grey() const { return colour_type == 0; }
  bool palette() const { return colour_type == 3; }
  bool deep_grey() const { return grey() && bits == 16; }
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

inline void check_components(int components, std::string_view name) {
  if (components == 1 || components == 3) return;
#ifdef IVL_LIBJPEG
  if (components == 4) return;
  fail<ImageError>(name, ": expected a JPEG of 1, 3 or 4 components, found ", components);
#else
  fail<ImageError>(name, ": expected a grey or three-colour JPEG, found ", components, " components",
                   components == 4 ? " (CMYK needs a build with libjpeg-turbo)" : "");
#endif
}

/// Reads the segments of a JPEG up to its end-of-image marker.
inline ImageHeader scan_jpeg(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(2, "signature");
  ImageHeader header;
  int scans = 0;
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
    // Each scan may touch every pixel, so that a small file of many would take hours. 256 is more than any encoder
    // makes.
    if (marker == 0xda && ++scans > 256) fail<ImageError>(name, ": expected a JPEG of at most 256 scans, found more");
    // Readers look for notes no further than the first scan.
    if (marker == 0xe1 && scans == 0 && rest <= file.size() - in.at())
      take_app1(text_of_bytes(file.subspan(in.at(), rest)), header.notes);
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      if (marker > 0xc2)
        fail<ImageError>(name, ": expected a baseline or progressive JPEG, found kind ", marker - 0xc0);
      if (header.width != 0) fail<ImageError>(name, ": expected one frame header in a JPEG, found two");
      const std::uint32_t bits = in.number(1, "sample size");
      header.height = in.number(2, "height");
      header.width = in.number(2, "width");
      header.components = int(in.number(1, "number of components"));
      if (bits != 8) fail<ImageError>(name, ": expected a JPEG of 8 bits a sample, found ", bits);
      check_components(header.components, name);
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

}  // namespace ivl::detail
