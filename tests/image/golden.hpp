// Golden pixels made by Pillow 11.3.0 (tests/golden/make_pixels.py), and how they are hashed and drawn.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/quads.hpp"

namespace ivl::test {

inline const std::filesystem::path pixels_folder = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/pixels";

inline const Json& golden_pixels() {
  static const Json golden = read_json(pixels_folder / "pixels.json");
  return golden;
}

/// The 64-bit FNV-1a hash, as the golden file writes it.
inline std::string fnv1a64(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// Byte i of the picture is bits 24..31 of (i + 1) * 2654435761: edges everywhere.
inline Image formula_image(int width, int height) {
  Image image{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = std::uint8_t((i + 1) * 2654435761u >> 24);
  return image;
}

inline std::vector<std::byte> bytes_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

/// Every set of instructions that this build has.
using AllQuads = std::tuple<detail::PlainQuads
#if defined(__AVX2__)
                            ,
                            detail::Avx2Quads
#endif
#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
                            ,
                            detail::VnniQuads
#endif
                            >;

}  // namespace ivl::test
