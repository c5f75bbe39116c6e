// Every kind of picture that files may hold, against Pillow's pixels.
#include "ivl/image/decode.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "tests/image/decoding.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using test::error_of;

TEST_CASE("every kind of PNG, BMP and GIF gives Pillow's pixels") {
  const Json& all = test::golden_decoded();
  for (const char* kind : {"png", "bmp", "gif"}) {
    CAPTURE(kind);
    REQUIRE(all[kind].size() >= 45);
    test::check_all_decoded(all[kind]);
  }
}

#ifdef IVL_LIBJPEG
TEST_CASE("every kind of JPEG gives Pillow's pixels") {
  const Json& all = test::golden_decoded();
  REQUIRE(all["jpeg"].size() >= 60);
  test::check_all_decoded(all["jpeg"]);
}

TEST_CASE("a JPEG may have the 65500 pixels a side that libjpeg decodes, where the limits allow them") {
  const Json& golden = test::golden_decoded()["larger"][0];
  const auto path = test::decoded_folder / golden["file"].get<std::string>();
  const Image found = read_image(path, {.limits = {.side_px = 65500}});
  CHECK(Json{found.width, found.height} == golden["stored"]["size"]);
  CHECK(test::fnv1a64(found.rgb) == golden["stored"]["fnv1a64"]);
  CHECK(error_of<ImageError>([&] { (void)read_image(path); }) ==
        path.string() + ": expected at most 16384 pixels a side and 134217728 in all, found 65500 x 8");
}
#else
TEST_CASE("without libjpeg-turbo a CMYK JPEG is refused") {
  CHECK(error_of<ImageError>([] {
          (void)read_image(test::decoded_folder / "cmyk_444.jpg");
        }).ends_with("found 4 components (CMYK needs a build with libjpeg-turbo)"));
}
#endif

#ifdef IVL_LIBWEBP
TEST_CASE("every kind of WebP gives Pillow's pixels, of an animation those of the first frame") {
  const Json& all = test::golden_decoded();
  REQUIRE(all["webp"].size() >= 50);
  test::check_all_decoded(all["webp"]);
}

TEST_CASE("every cut of a WebP, and every lie about its size, is an error that names the file") {
  for (const char* name : {"rgb_12x12_50.webp", "rgba_12x12_lossless.webp", "clear_small_frame_18.webp"}) {
    CAPTURE(name);
    const std::string whole = test::decoded_file(name);
    REQUIRE(test::error_of_decoding(whole) == "");
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      CAPTURE(bytes);
      REQUIRE(test::error_of_decoding(whole.substr(0, bytes)).starts_with("x.img: "));
      if (bytes < 20 || whole.find("ANMF") != whole.npos) continue;  // an animation may end behind its first frame
      std::string cut = whole.substr(0, bytes);                      // a RIFF that says so
      cut.replace(4, 4, {char((bytes - 8) & 255), char((bytes - 8) >> 8), 0, 0});
      REQUIRE(test::error_of_decoding(cut).starts_with("x.img: "));
    }
  }
  const std::string still = test::decoded_file("opaque_alpha_flag.webp");
  CHECK(test::error_of_decoding(std::string(still).replace(24, 3, "\xff\xff\xff")) ==
        "x.img: expected a picture of 16777216 x 16 pixels, found 24 x 16 at 0, 0");
  CHECK(test::error_of_decoding(std::string(still).replace(20, 1, "\2")) ==
        "x.img: expected a picture in a WebP file, found none");
  const std::string animated = test::decoded_file("clear_small_frame_18.webp");
  const std::size_t frame = animated.find("ANMF");
  CHECK(test::error_of_decoding(std::string(animated).replace(frame + 8, 1, "\x09")) ==
        "x.img: expected a picture of 40 x 30 pixels, found 24 x 16 at 18, 4");
  CHECK(test::error_of_decoding(std::string(animated).replace(frame + 14, 1, "\x16")) ==
        "x.img: expected a frame of 23 x 16 pixels, found 24 x 16");
  CHECK(test::error_of_decoding(std::string(animated).replace(24, 6, "\xff\xff\0\xff\xff\0", 6)) ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 65536 x 65536");
}
#else
TEST_CASE("without libwebp a WebP file is refused by name") {
  CHECK(
      error_of<ImageError>([] { (void)read_image(test::decoded_folder / "xmp.webp"); })
          .ends_with("xmp.webp: this is a WebP file, and ivl was built without libwebp: convert it to PNG, or install "
                     "libwebp (Debian: libwebp-dev) and build again"));
}
#endif

TEST_CASE("every cut of a BMP or a GIF is an error, but for what stands behind the pixels") {
  const std::pair<const char*, std::size_t> files[] = {
      {"p_8bit_40.bmp", 3},    // the last row's padding
      {"runs_8bit_0.bmp", 5},  // padding, and two codes that say that row and picture end
      {"interlaced_9.gif", 1},
      {"extensions.gif", 1},
  };
  for (const auto& [name, spare] : files) {
    CAPTURE(name);
    const std::string whole = test::decoded_file(name);
    for (std::size_t bytes = 0; bytes + spare < whole.size(); ++bytes) {
      CAPTURE(bytes);
      REQUIRE(test::error_of_decoding(whole.substr(0, bytes)).starts_with("x.img: "));
    }
    CHECK(test::error_of_decoding(whole.substr(0, whole.size() - spare)) == "");
  }
}

TEST_CASE("BMP files that lie, or that Pillow misreads, are refused in words") {
  const std::string plain = test::decoded_file("24bit_40.bmp");
  const auto with = [&](std::size_t at, const std::string& bytes) {
    return test::error_of_decoding(std::string(plain).replace(at, bytes.size(), bytes));
  };
  using namespace std::string_literals;
  CHECK(with(14, "\x29") == "x.img: expected a BMP header of 12, 40, 52, 56, 64, 108 or 124 bytes, found 41");
  CHECK(with(18, "\0\0\0\0"s) == "x.img: expected at least one pixel, found 0 x 11");
  CHECK(with(18, "\xff\xff\xff\x7f\xff\xff\xff\x7f") ==
        "x.img: truncated: expected 2147483647 rows of 6442450944 bytes at 54, found 440 bytes");
  CHECK(with(10, "\xff\xff\xff\xff") == "x.img: truncated: expected 11 rows of 40 bytes at 4294967295, found 0 bytes");
  CHECK(with(28, "\2") == "x.img: expected a BMP of 1, 4, 8, 16, 24 or 32 bits a pixel, found 2");
  CHECK(with(30, "\1") == "x.img: expected BMP runs of 4 or 8 bits a pixel, as their kind says, found 24");
  CHECK(with(30, "\4") == "x.img: this is a BMP with a JPEG inside (4), which is not decoded: convert it to PNG");
  CHECK(test::error_of_decoding(test::decoded_file("masks_bgrx_40.bmp").replace(54, 1, "\1")) ==
        "x.img: a BMP of 32 bits a pixel whose masks 16711681, 65280, 255, 0 are not decoded: convert it to PNG");
  const std::string runs = test::decoded_file("runs_8bit_0.bmp");
  const std::size_t pixels = std::uint8_t(runs[10]) + 256 * std::size_t(std::uint8_t(runs[11]));
  CHECK(test::error_of_decoding(std::string(runs).replace(pixels, 4, "\0\2\1\1"s)) ==
        "x.img: a BMP whose runs skip pixels is not decoded, since Pillow misreads it: convert it to PNG");
  CHECK(test::error_of_decoding(std::string(runs).replace(pixels, 2, "\0\1"s)) ==
        "x.img: truncated: expected 143 pixels of BMP runs, found 0");
}

TEST_CASE("GIF files that lie are refused in words") {
  const std::string plain = test::decoded_file("3bit.gif");
  const std::size_t frame = 13 + 3 * 8;
  REQUIRE(plain[frame] == ',');
  const auto with = [&](std::size_t at, const std::string& bytes) {
    return test::error_of_decoding(std::string(plain).replace(at, bytes.size(), bytes));
  };
  using namespace std::string_literals;
  CHECK(with(frame, ";") == "x.img: expected a frame in a GIF file, found none");
  CHECK(with(frame + 5, "\xff\xff\xff\xff") ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 65535 x 65535");
  CHECK(with(frame + 5, "\0\0"s) == "x.img: expected a GIF frame of at least one pixel, found 0 x 11");
  CHECK(with(frame + 5, "\x0e") == "x.img: cannot decode the picture: the GIF data end after 143 of 154 pixels");
  CHECK(with(frame + 10, "\x09") == "x.img: expected GIF codes of at most 8 bits, found 9");
  CHECK(with(frame + 12, "\xf8") == "x.img: cannot decode the picture: the GIF data are damaged after 0 of 143 pixels");
}

#ifdef IVL_LIBTIFF
TEST_CASE("every kind of TIFF gives Pillow's pixels, turned as its tag says") {
  const Json& all = test::golden_decoded();
  REQUIRE(all["tiff"].size() >= 100);
  test::check_all_decoded(all["tiff"]);
}

TEST_CASE("every cut of a TIFF, and what it may say of its size, is an error that names the file") {
  for (const char* name : {"rgb_8bit.tif", "rgb_8bit_strips.tif", "l_4bit_tiles.tif", "big_ii.tif"}) {
    CAPTURE(name);
    const std::string whole = test::decoded_file(name);
    for (std::size_t bytes = 0; bytes + 8 < whole.size(); ++bytes) {  // libtiff reads on without the next one's place
      CAPTURE(bytes);
      REQUIRE(test::error_of_decoding(whole.substr(0, bytes)).starts_with("x.img: "));
    }
  }
}

TEST_CASE("TIFF files that lie, or that are not decoded, are refused in words") {
  const std::string plain = test::decoded_file("rgb_8bit.tif");
  /// With another value of a tag, which is a number of 4 bytes or less.
  const auto with = [&](int tag, std::uint32_t value) {
    std::string file = plain;
    const std::string entry{char(tag & 255), char(tag >> 8)};
    const std::size_t at = file.find(entry, file.size() - (10 * 12 + 4));
    REQUIRE(at != file.npos);
    for (int i = 0; i < 4; ++i) file[at + 8 + std::size_t(i)] = char(value >> 8 * i & 255);
    return test::error_of_decoding(file);
  };
  CHECK(with(257, 1291) == "x.img: expected TIFF data in each of 118 strips or tiles, found none in number 1");
  CHECK(with(273, 0x7fffffff) == "x.img: truncated: expected 429 bytes of TIFF data at 2147483647, found 0");
  CHECK(with(259, 50001) ==
        "x.img: this is a TIFF of a compression that is not known here (3 samples of 8 bits a pixel, photometric 2, "
        "compression 50001): convert it to PNG");
  CHECK(with(262, 8) ==
        "x.img: this is a TIFF of Lab colours (3 samples of 8 bits a pixel, photometric 8, compression 1): "
        "convert it to PNG");
  CHECK(with(256, 0).starts_with("x.img: cannot decode the picture: "));  // in libtiff's words
  CHECK(with(277, 7).starts_with("x.img: cannot decode the picture: "));
}
#else
TEST_CASE("without libtiff a TIFF file is refused by name") {
  CHECK(error_of<ImageError>([] { (void)read_image(test::decoded_folder / "rgb_8bit.tif"); })
            .ends_with("rgb_8bit.tif: this is a TIFF file (or a camera's raw file), and ivl was built without libtiff: "
                       "convert it to PNG, or install libtiff (Debian: libtiff-dev) and build again"));
}
#endif

}  // namespace
