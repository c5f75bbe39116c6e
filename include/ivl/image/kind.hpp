// What a file is, by its first bytes: a picture that is decoded, or what to call it in the error.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"

namespace ivl::detail {

enum class PictureKind { png, jpeg, webp, gif, bmp, tiff };

/// The name of a file of ISO's boxes, which begins with its brands.
inline std::string_view name_of_boxes(std::string_view text) {
  const std::string_view brand = text.substr(8, 4);
  const std::string_view brands = text.substr(8, std::min<std::size_t>(32, std::size_t(std::uint8_t(text[3]))));
  if (brand.starts_with("avi") || brands.find("avif") != brands.npos) return "an AVIF file";
  if (brand.starts_with("he") || brand == "mif1" || brand == "msf1") return "a HEIC file";
  return "a video (MP4 or QuickTime)";
}

/// The name of a file of text.
inline std::string_view name_of_text(std::string_view text) {
  std::string start(text.substr(0, 1024));
  std::transform(start.begin(), start.end(), start.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  start.erase(0, start.find_first_not_of("\xef\xbb\xbf \t\r\n"));
  const auto has = [&](std::string_view word) { return start.find(word) != start.npos; };
  if (start.starts_with("<!doctype html") || has("<html")) return "an HTML page (an error page, saved as a picture?)";
  if (start.starts_with("<") && has("<svg")) return "an SVG drawing";
  if (start.starts_with("version https://git-lfs")) return "a git-lfs pointer (git lfs pull fetches the picture)";
  return "a file of text";
}

inline bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// What a file is that is not decoded here; empty where nobody knows.
inline std::string_view name_of_other(std::string_view text) {
  struct Signature {
    std::string_view bytes, name;
  };
  using namespace std::string_view_literals;
  constexpr std::array signatures{Signature{"\0\0\0\x0cjP  "sv, "a JPEG 2000 file"},
                                  Signature{"\xff\x4f\xff\x51", "a JPEG 2000 file"},
                                  Signature{"\0\0\0\x0cJXL "sv, "a JPEG XL file"},
                                  Signature{"\xff\x0a", "a JPEG XL file"},
                                  Signature{"%PDF-", "a PDF file"},
                                  Signature{"8BPS", "a Photoshop file"},
                                  Signature{"\0\0\1\0"sv, "an icon"},
                                  Signature{"\0\0\2\0"sv, "a cursor, or a TGA file"},
                                  Signature{"v/1\1", "an OpenEXR file"},
                                  Signature{"qoif", "a QOI file"},
                                  Signature{"DDS ", "a DDS file"},
                                  Signature{"icns", "an icon of macOS"}};
  for (const Signature& signature : signatures) {
    if (text.starts_with(signature.bytes)) return signature.name;
  }
  if (text.size() >= 3 && text[0] == 'P' && text[1] >= '1' && text[1] <= '7' && is_space(text[2]))
    return "a PNM file (PBM, PGM, PPM or PAM)";
  if (text.ends_with("TRUEVISION-XFILE.\0"sv)) return "a TGA file";
  if (text.size() >= 12 && text.substr(4, 4) == "ftyp") return name_of_boxes(text);
  const auto is_text = [](char c) { return std::uint8_t(c) >= 32 || c == '\t' || c == '\n' || c == '\r'; };
  const std::string_view start = text.substr(0, 1024);
  return !start.empty() && std::all_of(start.begin(), start.end(), is_text) ? name_of_text(text) : "";
}

inline bool is_tiff(std::string_view text) {
  constexpr std::array starts{std::string_view("II*\0", 4), std::string_view("MM\0*", 4), std::string_view("II+\0", 4),
                              std::string_view("MM\0+", 4)};
  return std::any_of(starts.begin(), starts.end(), [&](std::string_view start) { return text.starts_with(start); });
}

/// Throws ImageError that names a format that is not decoded.
inline PictureKind kind_of_picture(std::string_view text, std::string_view name) {
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return PictureKind::png;
  if (text.starts_with("\xff\xd8\xff")) return PictureKind::jpeg;
  if (text.size() >= 12 && text.starts_with("RIFF") && text.substr(8, 4) == "WEBP") {
#ifdef IVL_LIBWEBP
    return PictureKind::webp;
#else
    fail<ImageError>(name, ": this is a WebP file, and ivl was built without libwebp: convert it to PNG, or install ",
                     "libwebp (Debian: libwebp-dev) and build again");
#endif
  }
  if (text.starts_with("GIF87a") || text.starts_with("GIF89a")) return PictureKind::gif;
  // The size of a BMP's header is a number of four bytes below 256.
  if (text.size() >= 18 && text.starts_with("BM") && text.substr(15, 3) == std::string_view("\0\0", 3))
    return PictureKind::bmp;
  if (is_tiff(text)) {
#ifdef IVL_LIBTIFF
    return PictureKind::tiff;
#else
    fail<ImageError>(name,
                     ": this is a TIFF file (or a camera's raw file), and ivl was built without libtiff: convert ",
                     "it to PNG, or install libtiff (Debian: libtiff-dev) and build again");
#endif
  }
  const std::string_view other = name_of_other(text);
  if (other.empty()) {
    fail<ImageError>(name, ": expected a PNG, JPEG, WebP, GIF, BMP or TIFF file, found the signature of none in ",
                     text.size(), " bytes");
  }
  fail<ImageError>(name, ": this is ", other, ": expected PNG, JPEG, WebP, GIF, BMP or TIFF, so convert it first");
}

}  // namespace ivl::detail
