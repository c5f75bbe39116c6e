// BMP files, read as Pillow reads them: Windows and OS/2 headers, 1 to 32 bits a pixel, and runs of 4 and 8 bits.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/scan.hpp"
#include "ivl/image/white.hpp"

namespace ivl::detail {

enum class BmpCoding : std::uint32_t { plain = 0, runs_of_8_bits = 1, runs_of_4_bits = 2, masks = 3 };

struct BmpHeader {
  std::uint32_t width = 0, height = 0;
  int bits = 0;  // a pixel
  BmpCoding coding = BmpCoding::plain;
  bool top_down = false;
  bool six_bits_of_green = false;            // of a pixel of 16 bits
  std::array<int, 4> bytes = {2, 1, 0, -1};  // where red, green, blue and alpha stand in a pixel of 24 or 32 bits
  std::vector<std::uint8_t> colours;         // [256, 3] of a palette
  std::size_t pixels_at = 0;

  bool runs() const { return coding == BmpCoding::runs_of_8_bits || coding == BmpCoding::runs_of_4_bits; }
  std::size_t row_bytes() const { return (std::size_t(width) * std::size_t(bits) + 7) / 8; }
  std::size_t stride() const { return (row_bytes() + 3) / 4 * 4; }
};

/// Takes the masks of red, green, blue and alpha, of which some headers have three.
inline void take_bmp_masks(FileReader& in, std::uint32_t header_bytes, std::string_view name, BmpHeader& header) {
  std::array<std::uint32_t, 4> masks{};
  for (std::size_t i = 0; i < (header_bytes >= 56 ? 4 : 3); ++i) masks[i] = in.little(4, "BMP mask");
  const auto are = [&](std::uint32_t red, std::uint32_t green, std::uint32_t blue) {
    return masks[0] == red && masks[1] == green && masks[2] == blue;
  };
  bool known = false;
  if (header.bits == 16) {
    header.six_bits_of_green = are(0xf800, 0x7e0, 0x1f);
    known = header.six_bits_of_green || are(0x7c00, 0x3e0, 0x1f);
  } else if (header.bits == 24) {
    known = are(0xff0000, 0xff00, 0xff);
  } else if (header.bits == 32 && are(0, 0, 0) && masks[3] == 0) {
    header.bytes = {2, 1, 0, 3};
    known = true;
  } else if (header.bits == 32) {
    known = true;
    for (std::size_t i = 0; i < 4; ++i) {
      const int byte = std::countr_zero(masks[i]) / 8;
      const bool none = i == 3 && masks[i] == 0;
      header.bytes[i] = none ? -1 : byte;
      known = known && (none || (masks[i] != 0 && masks[i] == 0xffu << 8 * byte));
    }
  }
  if (!known) {
    fail<ImageError>(name, ": a BMP of ", header.bits, " bits a pixel whose masks ", masks[0], ", ", masks[1], ", ",
                     masks[2], ", ", masks[3], " are not decoded: convert it to PNG");
  }
}

/// Takes `number` colours of 3 or 4 bytes each.
inline void take_bmp_palette(FileReader& in, std::uint32_t number, std::size_t colour_bytes, std::string_view name,
                             BmpHeader& header) {
  if (number > 256) fail<ImageError>(name, ": expected a BMP palette of at most 256 colours, found ", number);
  const auto bytes = in.take(number * colour_bytes, "BMP palette");
  header.colours.assign(256 * 3, 0);  // black where the palette is short
  bool levels = true;
  for (std::size_t i = 0; i < number; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const auto level = std::uint8_t(bytes[i * colour_bytes + 2 - c]);
      header.colours[3 * i + c] = level;
      levels = levels && level == (number == 2 ? 255 * i : i);
    }
  }
  if (!levels) return;
  // Pillow takes such pixels for levels of one bit (black and white) or eight, however many bits they have.
  if (header.bits != (number == 2 ? 1 : 8) || (number == 2 && header.runs())) {
    fail<ImageError>(name, ": a BMP of ", header.bits, " bits a pixel and ", number,
                     " levels of grey is not decoded, since Pillow misreads it: convert it to PNG");
  }
  for (std::size_t i = number; number != 2 && i < 256; ++i) std::memset(&header.colours[3 * i], int(i), 3);
}

inline BmpHeader read_bmp_header(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(10, "BMP header");
  std::size_t pixels_at = in.little(4, "BMP header");
  const std::uint32_t header_bytes = in.little(4, "BMP header");
  constexpr std::uint32_t known_sizes[] = {12, 40, 52, 56, 64, 108, 124};
  if (std::count(std::begin(known_sizes), std::end(known_sizes), header_bytes) == 0)
    fail<ImageError>(name, ": expected a BMP header of 12, 40, 52, 56, 64, 108 or 124 bytes, found ", header_bytes);
  const bool old = header_bytes == 12;
  BmpHeader header;
  header.width = in.little(old ? 2 : 4, "BMP header");
  header.height = in.little(old ? 2 : 4, "BMP header");
  header.top_down = !old && header.height >> 24 == 0xff;
  if (header.top_down) header.height = -header.height;
  in.skip(2, "BMP header");  // planes
  header.bits = int(in.little(2, "BMP header"));
  const std::uint32_t coding = old ? 0 : in.little(4, "BMP header");
  if (coding > 3) {
    fail<ImageError>(name, ": this is a BMP with ",
                     coding == 4   ? "a JPEG inside"
                     : coding == 5 ? "a PNG inside"
                                   : "an unknown compression",
                     " (", coding, "), which is not decoded: convert it to PNG");
  }
  header.coding = BmpCoding(coding);
  constexpr int known_bits[] = {1, 4, 8, 16, 24, 32};
  if (std::count(std::begin(known_bits), std::end(known_bits), header.bits) == 0)
    fail<ImageError>(name, ": expected a BMP of 1, 4, 8, 16, 24 or 32 bits a pixel, found ", header.bits);
  if (header.runs() && header.bits != (header.coding == BmpCoding::runs_of_8_bits ? 8 : 4))
    fail<ImageError>(name, ": expected BMP runs of 4 or 8 bits a pixel, as their kind says, found ", header.bits);
  std::uint32_t colours = 0;
  if (!old) {
    in.skip(12, "BMP header");  // bytes and resolution
    colours = in.little(4, "BMP header");
    in.skip(4, "BMP header");  // colours that matter
  }
  if (colours == 0 && header.bits <= 8) colours = 1u << header.bits;
  if (header.coding == BmpCoding::masks) take_bmp_masks(in, header_bytes, name, header);
  if (in.at() < 14 + header_bytes) in.skip(14 + header_bytes - in.at(), "BMP header");
  if (header.bits <= 8) {
    // Writers that forget the palette when they say where the pixels begin.
    if (pixels_at == 14 + header_bytes) pixels_at += std::size_t(4) * colours;
    take_bmp_palette(in, colours, old ? 3 : 4, name, header);
  }
  header.pixels_at = pixels_at == 0 ? in.at() : pixels_at;
  return header;
}

/// The size, and whether all pixels are there.
inline ImageHeader scan_bmp(std::span<const std::byte> file, std::string_view name) {
  const BmpHeader bmp = read_bmp_header(file, name);
  ImageHeader header;
  header.width = bmp.width;
  header.height = bmp.height;
  const std::size_t room = file.size() - std::min(file.size(), bmp.pixels_at);
  // Rows are padded, but the last one need not be.
  const bool all = bmp.width == 0 || bmp.height == 0 ||
                   (room >= bmp.row_bytes() && bmp.height - 1 <= (room - bmp.row_bytes()) / bmp.stride());
  if (!bmp.runs() && !all) {
    fail<ImageError>(name, ": truncated: expected ", bmp.height, " rows of ", bmp.stride(), " bytes at ", bmp.pixels_at,
                     ", found ", room, " bytes");
  }
  return header;
}

/// [height, width] of indices, in the file's order of rows. What a row's runs leave out is 0.
inline std::vector<std::uint8_t> read_bmp_runs(std::span<const std::byte> file, std::string_view name,
                                               const BmpHeader& header) {
  FileReader in(file, name);
  in.skip(header.pixels_at, "BMP header");
  const bool nibbles = header.bits == 4;
  const std::size_t width = header.width, wanted = width * header.height;
  std::vector<std::uint8_t> indices;
  indices.reserve(wanted + 256);
  std::size_t x = 0;
  while (indices.size() < wanted) {
    const std::size_t number = in.little(1, "BMP runs");
    const std::uint8_t value = std::uint8_t(in.little(1, "BMP runs"));
    if (number > 0) {
      const std::size_t fitting = std::min(number, width - std::min(x, width));  // a run ends with its row
      for (std::size_t i = 0; i < fitting; ++i)
        indices.push_back(!nibbles ? value : i % 2 == 0 ? std::uint8_t(value >> 4) : std::uint8_t(value & 15));
      x += fitting;
    } else if (value == 0) {  // end of the row
      indices.resize((indices.size() + width - 1) / width * width);
      x = 0;
    } else if (value == 1) {  // end of the picture
      break;
    } else if (value == 2) {  // on to the right and up
      fail<ImageError>(name,
                       ": a BMP whose runs skip pixels is not decoded, since Pillow misreads it: convert it to PNG");
    } else {  // as they are
      if (nibbles && value % 2 != 0) {
        fail<ImageError>(name, ": a BMP of runs of 4 bits with ", int(value),
                         " pixels as they are, an odd number, is not decoded, since Pillow misreads it: convert it to "
                         "PNG");
      }
      for (const std::byte byte : in.take(nibbles ? value / 2u : value, "BMP runs")) {
        if (nibbles) indices.push_back(std::uint8_t(byte) >> 4);
        indices.push_back(std::uint8_t(byte) & (nibbles ? 15 : 255));
      }
      x += value;
      if (in.at() % 2 != 0 && !in.ended()) in.skip(1, "BMP runs");
    }
  }
  if (indices.size() < wanted)
    fail<ImageError>(name, ": truncated: expected ", wanted, " pixels of BMP runs, found ", indices.size());
  return indices;
}

/// [width, 3] of a row. Where `whitens`, a pixel with alpha is put on white.
inline void decode_bmp_row(const BmpHeader& header, const std::uint8_t* in, bool whitens, std::uint8_t* rgb) {
  const int bits = header.bits;
  for (std::size_t x = 0; x < header.width; ++x, rgb += 3) {
    if (bits <= 8) {
      const std::size_t bit = x * std::size_t(bits);
      const int index = in[bit / 8] >> (8 - bits - int(bit % 8)) & ((1 << bits) - 1);
      std::memcpy(rgb, &header.colours[3 * std::size_t(index)], 3);
    } else if (bits == 16) {
      const int pixel = in[2 * x] | in[2 * x + 1] << 8, more = header.six_bits_of_green ? 1 : 0;
      rgb[0] = std::uint8_t((pixel >> (10 + more) & 31) * 255 / 31);
      rgb[1] = std::uint8_t(more ? (pixel >> 5 & 63) * 255 / 63 : (pixel >> 5 & 31) * 255 / 31);
      rgb[2] = std::uint8_t((pixel & 31) * 255 / 31);
    } else {
      const std::uint8_t* pixel = in + x * std::size_t(bits / 8);
      for (std::size_t c = 0; c < 3; ++c) rgb[c] = pixel[header.bytes[c]];
      if (whitens && header.bytes[3] >= 0)
        for (std::size_t c = 0; c < 3; ++c) rgb[c] = on_white(rgb[c], pixel[header.bytes[3]]);
    }
  }
}

/// [height, width, 3] of a file that scan_bmp has seen.
inline std::vector<std::uint8_t> decode_bmp(std::span<const std::byte> file, std::string_view name, bool whitens) {
  BmpHeader header = read_bmp_header(file, name);
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(file.data()) + header.pixels_at;
  std::size_t stride = header.stride();
  std::vector<std::uint8_t> indices;
  if (header.runs()) {
    indices = read_bmp_runs(file, name, header);
    header.bits = 8;
    pixels = indices.data();
    stride = header.width;
  }
  const std::size_t width = header.width, height = header.height;
  std::vector<std::uint8_t> rgb(3 * width * height);
  for (std::size_t row = 0; row < height; ++row) {
    const std::size_t y = header.top_down ? row : height - 1 - row;
    decode_bmp_row(header, pixels + row * stride, whitens, &rgb[3 * width * y]);
  }
  return rgb;
}

}  // namespace ivl::detail
