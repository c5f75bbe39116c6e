// GIF files: the first frame on its canvas, as Pillow gives it.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/scan.hpp"

namespace ivl::detail {

struct GifFrame {
  std::uint32_t canvas_width = 0, canvas_height = 0;
  std::uint32_t x = 0, y = 0, width = 0, height = 0;
  bool interlaced = false;
  int transparent = -1;               // an index; -1: none
  std::vector<std::uint8_t> colours;  // [256, 3]
  int code_bits = 0;                  // of an index as it is
  std::vector<std::uint8_t> codes;
};

/// [256, 3] of the palette by which an index is its own level.
inline std::vector<std::uint8_t> grey_levels() {
  std::vector<std::uint8_t> levels(256 * 3);
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = std::uint8_t(i / 3);
  return levels;
}

/// Takes the colours that a byte of flags tells; nothing where it tells none. Indices are levels of grey where a file
/// has no palette, and, as in Pillow, where a palette says only that.
inline std::vector<std::uint8_t> take_gif_palette(FileReader& in, std::uint32_t flags) {
  if ((flags & 128) == 0) return {};
  const auto bytes = text_of_bytes(in.take(std::size_t(6) << (flags & 7), "GIF palette"));
  std::vector<std::uint8_t> colours(bytes.begin(), bytes.end());
  const std::vector<std::uint8_t> levels = grey_levels();
  if (std::equal(colours.begin(), colours.end(), levels.begin())) return levels;
  colours.resize(levels.size());  // black where the palette is short
  return colours;
}

/// Skips an extension, or takes the transparent index of one that tells it.
inline void take_gif_extension(FileReader& in, GifFrame& frame) {
  const bool controls = in.little(1, "GIF extension") == 0xf9;
  bool first = true;
  for (std::uint32_t bytes; (bytes = in.little(1, "GIF extension")) != 0; first = false) {
    const auto block = in.take(bytes, "GIF extension");
    if (controls && first && bytes >= 4 && (std::uint32_t(block[0]) & 1) != 0) frame.transparent = int(block[3]);
  }
}

/// Reads up to the end of the first frame.
inline GifFrame read_gif_frame(std::span<const std::byte> file, std::string_view name) {
  FileReader in(file, name);
  in.skip(6, "GIF header");
  GifFrame frame;
  frame.canvas_width = in.little(2, "GIF header");
  frame.canvas_height = in.little(2, "GIF header");
  const std::uint32_t screen_flags = in.little(1, "GIF header");
  in.skip(2, "GIF header");  // background, shape of a pixel
  const std::vector<std::uint8_t> levels = grey_levels(), of_all = take_gif_palette(in, screen_flags);
  for (std::uint32_t block; (block = in.little(1, "GIF frame")) != ',';) {
    if (block == ';') fail<ImageError>(name, ": expected a frame in a GIF file, found none");
    if (block == '!') take_gif_extension(in, frame);  // other bytes between blocks say nothing
  }
  frame.x = in.little(2, "GIF frame");
  frame.y = in.little(2, "GIF frame");
  frame.width = in.little(2, "GIF frame");
  frame.height = in.little(2, "GIF frame");
  frame.canvas_width = std::max(frame.canvas_width, frame.x + frame.width);
  frame.canvas_height = std::max(frame.canvas_height, frame.y + frame.height);
  if (frame.width == 0 || frame.height == 0)
    fail<ImageError>(name, ": expected a GIF frame of at least one pixel, found ", frame.width, " x ", frame.height);
  const std::uint32_t flags = in.little(1, "GIF frame");
  frame.interlaced = (flags & 64) != 0;
  frame.colours = take_gif_palette(in, flags);
  if (frame.colours == levels && !of_all.empty() && of_all != levels) {
    fail<ImageError>(name, ": a GIF whose first frame is grey and whose palette is not is not decoded, since Pillow ",
                     "misreads it: convert it to PNG");
  }
  if (frame.colours.empty()) frame.colours = of_all.empty() ? levels : of_all;
  frame.code_bits = int(in.little(1, "GIF frame"));
  if (frame.code_bits > 8) fail<ImageError>(name, ": expected GIF codes of at most 8 bits, found ", frame.code_bits);
  for (std::uint32_t bytes; (bytes = in.little(1, "GIF data")) != 0;) {
    const auto block = text_of_bytes(in.take(bytes, "GIF data"));
    frame.codes.insert(frame.codes.end(), block.begin(), block.end());
  }
  return frame;
}

inline ImageHeader scan_gif(std::span<const std::byte> file, std::string_view name) {
  const GifFrame frame = read_gif_frame(file, name);
  ImageHeader header;
  header.width = frame.canvas_width;
  header.height = frame.canvas_height;
  return header;
}

/// The frame's indices in the file's order, by GIF's variant of LZW: codes grow from code_bits + 1 bits to 12.
inline std::vector<std::uint8_t> gif_indices(const GifFrame& frame, std::string_view name) {
  constexpr std::uint32_t table_size = 4096;
  std::array<std::uint16_t, table_size> before;  // of a string: the one without its last index
  std::array<std::uint8_t, table_size> last;
  std::array<std::uint8_t, table_size + 1> reversed;
  const std::uint32_t clear = 1u << frame.code_bits, end = clear + 1;
  const std::size_t wanted = std::size_t(frame.width) * frame.height;
  std::vector<std::uint8_t> indices;
  indices.reserve(wanted);
  std::uint32_t next = clear + 2, previous = 0, bits = 0;
  int bit_count = 0, code_bits = frame.code_bits + 1;
  std::uint8_t first = 0;
  bool empty = true;  // the table, and no code before this one
  const auto fail_here = [&](std::string_view why) {
    fail<ImageError>(name, ": cannot decode the picture: the GIF data ", why, " after ", indices.size(), " of ", wanted,
                     " pixels");
  };
  for (std::size_t at = 0; indices.size() < wanted;) {
    for (; bit_count < code_bits; bit_count += 8) {
      if (at == frame.codes.size()) fail_here("end");
      bits |= std::uint32_t(frame.codes[at++]) << bit_count;
    }
    const std::uint32_t code = bits & ((1u << code_bits) - 1);
    bits >>= code_bits;
    bit_count -= code_bits;
    if (code == end) fail_here("end");
    if (code == clear) {
      next = clear + 2;
      code_bits = frame.code_bits + 1;
      empty = true;
      continue;
    }
    if (code > (empty ? clear : next)) fail_here("are damaged");
    std::size_t length = 0;
    std::uint32_t rest = code;
    if (!empty && code == next) {  // the string that this code is about to make
      reversed[length++] = first;
      rest = previous;
    }
    for (; rest >= clear; rest = before[rest]) reversed[length++] = last[rest];
    first = reversed[length++] = std::uint8_t(rest);
    if (!empty && next < table_size) {
      before[next] = std::uint16_t(previous);
      last[next] = first;
      if (next == (1u << code_bits) - 1 && code_bits < 12) ++code_bits;
      ++next;
    }
    previous = code;
    empty = false;
    const std::size_t fitting = std::min(length, wanted - indices.size());
    for (std::size_t i = 0; i < fitting; ++i) indices.push_back(reversed[length - 1 - i]);
  }
  return indices;
}

/// [canvas height, canvas width, 3]. Around the frame the canvas has the transparent index, or 0.
inline std::vector<std::uint8_t> decode_gif(std::span<const std::byte> file, std::string_view name, bool whitens) {
  GifFrame frame = read_gif_frame(file, name);
  const std::vector<std::uint8_t> indices = gif_indices(frame, name);
  const auto colour = [&](int index) { return &frame.colours[3 * std::size_t(index)]; };
  if (whitens && frame.transparent >= 0) std::memset(colour(frame.transparent), 255, 3);
  std::vector<std::uint8_t> rgb(std::size_t(3) * frame.canvas_width * frame.canvas_height);
  for (std::size_t i = 0; i < rgb.size(); i += 3) std::memcpy(&rgb[i], colour(std::max(frame.transparent, 0)), 3);

  constexpr std::uint32_t passes[][2] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, all[][2] = {{0, 1}};
  const auto order = frame.interlaced ? std::span<const std::uint32_t[2]>(passes) : all;
  const std::uint8_t* index = indices.data();
  for (const auto& [begin, step] : order) {
    for (std::uint32_t y = begin; y < frame.height; y += step) {
      std::uint8_t* out = &rgb[3 * (std::size_t(frame.y + y) * frame.canvas_width + frame.x)];
      for (std::uint32_t x = 0; x < frame.width; ++x, out += 3) std::memcpy(out, colour(*index++), 3);
    }
  }
  return rgb;
}

}  // namespace ivl::detail
