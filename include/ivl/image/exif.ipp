// The bodies of exif.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "ivl/image/exif.hpp"

namespace ivl {

namespace detail {

/// A TIFF file's numbers.
struct TiffBytes {
  std::string_view bytes;
  bool big_endian = false;

  bool has(std::uint64_t at, std::uint64_t number) const { return at <= bytes.size() && number <= bytes.size() - at; }
  std::uint32_t number(std::size_t at, int width) const {
    std::uint32_t value = 0;
    for (int i = 0; i < width; ++i)
      value = value << 8 | std::uint8_t(bytes[at + std::size_t(big_endian ? i : width - 1 - i)]);
    return value;
  }
};

/// The orientation tag of the first directory, whatever its number; nothing if it is missing.
inline std::optional<std::int64_t> orientation_tag(std::string_view exif) {
  const std::string_view name("Exif\0\0", 6);
  while (exif.starts_with(name)) exif.remove_prefix(name.size());
  TiffBytes tiff{exif};
  if (exif.size() < 8 || (!exif.starts_with("II") && !exif.starts_with("MM"))) return {};
  tiff.big_endian = exif[0] == 'M';
  const std::uint32_t magic = tiff.number(2, 2);
  if (magic != 42 && magic != 42 << 8 && !(tiff.big_endian && magic == 43)) return {};

  constexpr int type_bytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
  std::optional<std::int64_t> found;
  std::uint64_t at = tiff.number(4, 4);
  if (!tiff.has(at, 2)) return {};
  const std::uint32_t entries = tiff.number(at, 2);
  at += 2;
  for (std::uint32_t entry = 0; entry < entries && tiff.has(at, 12); ++entry, at += 12) {
    const std::uint32_t tag = tiff.number(at, 2), type = tiff.number(at + 2, 2);
    if (type >= std::size(type_bytes) || type_bytes[type] == 0) continue;
    const std::uint64_t bytes = std::uint64_t(type_bytes[type]) * tiff.number(at + 4, 4);
    const std::uint64_t value_at = bytes > 4 ? tiff.number(at + 8, 4) : at + 8;
    if (!tiff.has(value_at, bytes)) return found;  // nothing behind it is read
    if (tag != 0x0112 || bytes == 0) continue;
    switch (type) {
      case 3:
        found = tiff.number(value_at, 2);
        break;
      case 4:
      case 13:
        found = tiff.number(value_at, 4);
        break;
      case 6:
        found = std::int8_t(tiff.number(value_at, 1));
        break;
      case 8:
        found = std::int16_t(tiff.number(value_at, 2));
        break;
      case 9:
        found = std::int32_t(tiff.number(value_at, 4));
        break;
      default:
        found = 0;  // text or a fraction
    }
  }
  return found;
}

/// The bytes of an ImageMagick profile; nothing where other characters than digits stand in it.
inline std::optional<std::string> bytes_of_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const auto end = text.find('\n');
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    if (std::string_view(" \t\n\r\v\f").find(c) != std::string_view::npos) continue;
    const auto digit = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? char(c + 32) : c);
    if (digit == std::string_view::npos) return {};
    if (high >= 0) bytes += char(high << 4 | int(digit));
    high = high >= 0 ? -1 : int(digit);
  }
  return high < 0 ? std::optional(bytes) : std::nullopt;
}

/// The digit behind `tiff:Orientation="` or `tiff:Orientation>`; nothing if it is missing.
inline std::optional<std::int64_t> orientation_in_xmp(std::string_view text) {
  const std::string_view name = "tiff:Orientation";
  for (auto at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    std::string_view rest = text.substr(at + name.size());
    if (rest.starts_with("=\""))
      rest.remove_prefix(2);
    else if (rest.starts_with(">"))
      rest.remove_prefix(1);
    else
      continue;
    if (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') return rest.front() - '0';
  }
  return {};
}

}  // namespace detail

IVL_INLINE int orientation_of(const PictureNotes& notes) {
  std::optional<std::string> exif = notes.exif;
  if (!exif && notes.profile) exif = detail::bytes_of_profile(*notes.profile);
  std::optional<std::int64_t> found = notes.tag;
  if (!found && exif) found = detail::orientation_tag(*exif);
  if (!found && notes.xmp) found = detail::orientation_in_xmp(*notes.xmp);
  return found && *found >= 1 && *found <= 8 ? int(*found) : 1;
}

IVL_INLINE Image turned(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swap = swaps_sides(orientation);
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result{swap ? image.height : image.width, swap ? image.width : image.height, {}};
  result.rgb.resize(image.rgb.size());
  const auto source = [&](int x, int y) {
    const int column = swap ? y : x, row = swap ? x : y;
    return image.row(flip_y ? image.height - 1 - row : row) +
           std::ptrdiff_t(3) * (flip_x ? image.width - 1 - column : column);
  };
  // A row of the result may be a column of the picture: of few rows at a time, so that their lines stay in the cache.
  constexpr int block = 256;
  for (int begin = 0; begin < result.width; begin += block) {
    const int end = std::min(begin + block, result.width);
    for (int y = 0; y < result.height; ++y) {
      const std::uint8_t* in = source(begin, y);
      const std::ptrdiff_t step = end - begin > 1 ? source(begin + 1, y) - in : 0;
      std::uint8_t* out = result.rgb.data() + (std::ptrdiff_t(y) * result.width + begin) * 3;
      for (int x = begin; x < end; ++x, out += 3) std::memcpy(out, in + step * (x - begin), 3);
    }
  }
  return result;
}

}  // namespace ivl
