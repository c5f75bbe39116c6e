// What a file is, by its first bytes: a picture that is decoded, or what to call it in the error.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"

namespace ivl::detail {

enum class PictureKind { png, jpeg, webp };

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

/// What a file is that is not decoded here; empty where nobody knows.
inline std::string_view name_of_other(std::string_view text) {
  struct Signature {
    std::string_view bytes, name;
  };
  using namespace std::string_view_literals;
  constexpr std::array signatures{Signature{"GIF8", "a GIF file"},
                                  Signature{"II*\0"sv, "a TIFF file (or a camera's raw file)"},
                                  Signature{"MM\0*"sv, "a TIFF file (or a camera's raw file)"},
                                  Signature{"II+\0"sv, "a TIFF file"},
                                  Signature{"MM\0+"sv, "a TIFF file"},
                                  Signature{"\0\0\0\x0cjP  "sv, "a JPEG 2000 file"},
                                  Signature{"\xff\x4f\xff\x51", "a JPEG 2000 file"},
                                  Signature{"\0\0\0\x0cJXL "sv, "a JPEG XL file"},
                                  Signature{"\xff\x0a", "a JPEG XL file"},
                                  Signature{"%PDF-", "a PDF file"},
                                  Signature{"8BPS", "a Photoshop file"},
                                  Signature{"\0\0\1\0"sv, "an icon"}};
  for (const Signature& signature : signatures) {
    if (text.starts_with(signature.bytes)) return signature.name;
  }
  if (text.starts_with("BM") && text.size() >= 10 && text.substr(6, 4) == "\0\0\0\0"sv) return "a BMP file";
  if (text.size() >= 12 && text.substr(4, 4) == "ftyp") return name_of_boxes(text);
  const auto is_text = [](char c) { return std::uint8_t(c) >= 32 || c == '\t' || c == '\n' || c == '\r'; };
  const std::string_view start = text.substr(0, 1024);
  return !start.empty() && std::all_of(start.begin(), start.end(), is_text) ? name_of_text(text) : "";
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
  const std::string_view other = name_of_other(text);
  if (other.empty()) {
    fail<ImageError>(name, ": expected a PNG, JPEG or WebP file, found the signature of none in ", text.size(),
                     " bytes");
  }
  fail<ImageError>(name, ": this is ", other, ": expected PNG, JPEG or WebP, so convert it first");
}

}  // namespace ivl::detail
