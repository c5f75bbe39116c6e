// Files whose pixels Pillow has told (tests/golden/make_decoded.py), and what decoding them gives.
#pragma once
#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/image/decode.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/temporary_folder.hpp"

namespace ivl::test {

inline const std::filesystem::path decoded_folder = std::filesystem::path(IVL_SOURCE_DIR) / "tests/golden/decoded";

inline const Json& golden_decoded() {
  static const Json golden = read_json(decoded_folder / "decoded.json");
  return golden;
}

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string decoded_file(const char* name) {
  const std::vector<std::byte> bytes = bytes_of_file(decoded_folder / name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::string error_of_decoding(const std::string& file) {
  return error_of<ImageError>([&] { (void)decode_image(bytes_of(file), "x.img"); });
}

inline void check_decoded(const std::string& file, const Json& wanted, const DecodeOptions& options) {
  const Image found = read_image(decoded_folder / file, options);
  CHECK(Json{found.width, found.height} == wanted["size"]);
  CHECK(fnv1a64(found.rgb) == wanted["fnv1a64"]);
  const PixelSize size = size_of_image(bytes_of_file(decoded_folder / file), file, options);
  CHECK(Json{size.width, size.height} == wanted["size"]);
}

/// Stored, upright and on white.
inline void check_all_decoded(const Json& goldens) {
  for (const Json& golden : goldens) {
    const auto file = golden["file"].get<std::string>();
    CAPTURE(file);
    check_decoded(file, golden["stored"], {});
    check_decoded(file, golden.value("upright", golden["stored"]), {.orientation = Orientation::upright});
    check_decoded(file, golden.value("white", golden["stored"]), {.alpha = Alpha::white});
  }
}

}  // namespace ivl::test
