#include "ivl/image/decode.hpp"

#include <doctest/doctest.h>

#include <string>

#include "ivl/image/exif.hpp"
#include "tests/image/decoding.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using test::bytes_of;
using test::error_of;
using test::error_of_decoding;

std::string big_endian(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += char(value >> 8 * i & 255);
  return text;
}

/// Checksums are not looked at, so they are not made.
std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(std::uint32_t(data.size())) + type + data + "sums";
}

/// A PNG; `rows` (filter bytes included) are stored, not compressed.
std::string png(std::uint32_t width, std::uint32_t height, int bits, int colour_type, const std::string& rows,
                const std::string& more = "") {
  const auto size = std::uint32_t(rows.size());
  const std::string stored = std::string("\x78\x01\x01", 3) + char(size & 255) + char(size >> 8 & 255) +
                             char(~size & 255) + char(~size >> 8 & 255) + rows + "sums";
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", big_endian(width) + big_endian(height) + char(bits) + char(colour_type) + std::string(3, '\0')) +
         more + chunk("IDAT", stored) + chunk("IEND", "");
}

std::string golden_file(const char* name) {
  const std::vector<std::byte> bytes = test::bytes_of_file(test::pixels_folder / name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("JPEG files are decoded as by libjpeg-turbo, but for roundings where stb_image decodes them") {
#ifdef IVL_LIBJPEG
  constexpr int most = 0;
#else
  // Each inverse DCT is within 1 of the exact level; chroma upsampling rounds once more, so chroma is within 2 and
  // blue, its largest user, within 1 + 1.772 * 2 + 0.5 of a rounding: 6 after the other decoder's own rounding.
  constexpr int most = 6;
#endif
  int compared = 0;
  for (const Json& golden : test::golden_pixels()["images"]) {
    if (!golden.contains("decoded")) continue;
    CAPTURE(golden["file"]);
    const Image found = read_image(test::pixels_folder / golden["file"].get<std::string>());
    const Image wanted = read_image(test::pixels_folder / golden["decoded"].get<std::string>());
    REQUIRE(found.width == wanted.width);
    REQUIRE(found.height == wanted.height);
    for (std::size_t i = 0; i < wanted.rgb.size(); ++i)
      REQUIRE(std::abs(int(found.rgb[i]) - int(wanted.rgb[i])) <= most);
    ++compared;
  }
  CHECK(compared >= 10);
}

TEST_CASE("pictures come upright, or with alpha on white, as Pillow gives them") {
  const Json& all = test::golden_decoded();
  test::check_all_decoded(all["images"]);
  int turned = 0, whitened = 0;
  for (const Json& golden : all["images"]) {
    turned += golden.contains("upright");
    whitened += golden.contains("white");
  }
  CHECK(turned >= 40);
  CHECK(whitened >= 20);

  REQUIRE(all["turned"].size() == 8);
  for (const Json& golden : all["turned"]) {
    CAPTURE(golden["orientation"]);
    const Image found = ivl::turned(test::formula_image(golden["from"][0], golden["from"][1]), golden["orientation"]);
    CHECK(Json{found.width, found.height} == golden["size"]);
    CHECK(test::fnv1a64(found.rgb) == golden["fnv1a64"]);
  }
}

#ifdef IVL_LIBJPEG
TEST_CASE("what libjpeg-turbo gives up on is an error with its words") {
  std::string jpeg = golden_file("jpeg_161x96.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 11, 1, "\x51")) ==
        "x.img: cannot decode the picture: Bogus sampling factors");
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 9, 1, "\2")) ==
        "x.img: expected a JPEG of 1, 3 or 4 components, found 2");
}
#endif

TEST_CASE("files of other kinds are named") {
  using namespace std::string_literals;
  const std::pair<std::string, std::string> kinds[] = {
      {"P6 2 2 255\n", "a PNM file (PBM, PGM, PPM or PAM)"},
      {"\0\0\2\0\0\0\0\0"s, "a cursor, or a TGA file"},
      {"\0\0\x0a\0picture"
       "TRUEVISION-XFILE.\0"s,
       "a TGA file"},
      {"v/1\1\2\0\0\0"s, "an OpenEXR file"},
      {"qoif\0\0\0\1"s, "a QOI file"},
      {"DDS |\0\0\0"s, "a DDS file"},
      {"icns\0\0\0\1"s, "an icon of macOS"},
      {"8BPS\0\1"s, "a Photoshop file"},
      {"\0\0\1\0\1\0"s, "an icon"},
      {"\0\0\0\x18"
       "ftypheic\0\0\0\0mif1heic"s,
       "a HEIC file"},
      {"\0\0\0\x18"
       "ftypmif1\0\0\0\0mif1heic"s,
       "a HEIC file"},
      {"\0\0\0\x18"
       "ftypavif\0\0\0\0avifmif1"s,
       "an AVIF file"},
      {"\0\0\0\x18"
       "ftypmif1\0\0\0\0mif1avif"s,
       "an AVIF file"},
      {"\0\0\0\x18"
       "ftypisom\0\0\2\0isomiso2"s,
       "a video (MP4 or QuickTime)"},
      {"\0\0\0\x0cjP  \r\n\x87\n"s, "a JPEG 2000 file"},
      {"\xff\x4f\xff\x51\0\x2f"s, "a JPEG 2000 file"},
      {"\xff\x0a\xfa\x7f", "a JPEG XL file"},
      {"\0\0\0\x0cJXL \r\n\x87\n"s, "a JPEG XL file"},
      {"%PDF-1.7\n\xe2\xe3", "a PDF file"},
      {"<?xml version=\"1.0\"?>\n<svg width=\"9\"/>", "an SVG drawing"},
      {"\xef\xbb\xbf<SVG width=\"9\"/>", "an SVG drawing"},
      {"\n<!DOCTYPE html><svg/>", "an HTML page (an error page, saved as a picture?)"},
      {"version https://git-lfs.github.com/spec/v1\noid", "a git-lfs pointer (git lfs pull fetches the picture)"},
      {"BMW is a car", "a file of text"},
  };
  for (const auto& [bytes, kind] : kinds) {
    CHECK(error_of_decoding(bytes) ==
          "x.img: this is " + kind + ": expected PNG, JPEG, WebP, GIF, BMP or TIFF, so convert it first");
  }
}

TEST_CASE("16-bit grey is clipped, other 16-bit pictures keep the upper byte, alpha is dropped") {
  const Image grey = decode_image(bytes_of(png(2, 1, 16, 0, std::string("\0\0\x07\x01\x00", 5))), "grey");
  CHECK(grey.rgb == std::vector<std::uint8_t>{7, 7, 7, 255, 255, 255});
  const Image grey_alpha = decode_image(bytes_of(png(1, 1, 16, 4, std::string("\0\x12\x34\0\0", 5))), "grey, alpha");
  CHECK(grey_alpha.rgb == std::vector<std::uint8_t>{0x12, 0x12, 0x12});
  const Image rgb = decode_image(bytes_of(png(1, 1, 16, 2, std::string("\0\x01\xff\x80\x00\xfe\x01", 7))), "rgb");
  CHECK(rgb.rgb == std::vector<std::uint8_t>{1, 0x80, 0xfe});
  const Image rgba = decode_image(bytes_of(png(1, 1, 8, 6, std::string("\0\x01\x02\x03\0", 5))), "rgba");
  CHECK(rgba.rgb == std::vector<std::uint8_t>{1, 2, 3});
}

TEST_CASE("an index beyond a palette is black, never what lay in memory") {
  const std::string rows("\0\x00\x01\x02\xff", 5);
  const Image image =
      decode_image(bytes_of(png(4, 1, 8, 3, rows, chunk("PLTE", "abcdef") + chunk("tRNS", "\x80"))), "palette");
  CHECK(image.rgb == std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f', 0, 0, 0, 0, 0, 0});
  const Image four =
      decode_image(bytes_of(png(4, 1, 2, 3, std::string("\0\x1b", 2), chunk("PLTE", "abcdefghijkl"))), "2 bits");
  CHECK(four.rgb == std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'});
}

TEST_CASE("a PNG whose data are of zlib's reserved kind is an error: stb_image has no words for it") {
  std::string file = png(1, 1, 8, 0, std::string("\0\x01", 2));
  const std::size_t kind = file.find("\x78\x01\x01") + 2;
  REQUIRE(error_of_decoding(file) == "");
  file[kind] = 7;  // the last block, of kind 3
  CHECK(error_of_decoding(file) == "x.img: cannot decode the picture: the compressed data are damaged");
}

TEST_CASE("every cut of a PNG or a JPEG is an error that names the file") {
  for (const char* name : {"rgb_interlaced_3x2.png", "palette_2bit_43x31.png", "jpeg_1x1.jpg",
                           "jpeg_progressive_420_133x75.jpg", "jpeg_restart_markers_160x100.jpg"}) {
    CAPTURE(name);
    const std::string whole = golden_file(name);
    REQUIRE(error_of_decoding(whole) == "");
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      CAPTURE(bytes);
      REQUIRE(error_of_decoding(whole.substr(0, bytes)).starts_with("x.img: "));
    }
  }
  const std::string jpeg = golden_file("jpeg_161x96.jpg");
  CHECK(error_of_decoding(jpeg.substr(0, 1000)) ==
        "x.img: truncated: expected 1 bytes of image data (no end-of-image marker) at 1000, found 0");
}

TEST_CASE("absurd sizes are refused before anything is decoded") {
  CHECK(error_of_decoding(png(60000, 60000, 8, 2, "x")) ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 60000 x 60000");
  CHECK(error_of_decoding(png(16000, 16000, 8, 2, "x")) ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 16000 x 16000");
  CHECK(error_of_decoding(png(0, 5, 8, 2, "x")) == "x.img: expected at least one pixel, found 0 x 5");
  CHECK(error_of_decoding(png(5, 0xffffffff, 8, 2, "x")) ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 5 x 4294967295");
  std::string jpeg = golden_file("jpeg_1x1.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != jpeg.npos);
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 5, 4, "\xea\x60\xea\x60")) ==
        "x.img: expected at most 16384 pixels a side and 134217728 in all, found 60000 x 60000");
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 5, 2, 2, '\0')) ==
        "x.img: expected at least one pixel, found 1 x 0");
  CHECK(error_of<ImageError>([&] { (void)decode_image(bytes_of(jpeg), "j", {.limits = {.file_bytes = 10}}); }) ==
        "j: expected a file of at most 10 bytes, found " + std::to_string(jpeg.size()));
}

TEST_CASE("a picture may be as large as its limits say, and no larger, in width, height and pixels") {
  const auto error = [](std::uint32_t width, std::uint32_t height) {
    std::string rows;
    for (std::uint32_t y = 0; y < height; ++y) rows += '\0' + std::string(3 * width, 'x');
    const std::string file = png(width, height, 8, 2, rows);
    return error_of<ImageError>(
        [&] { (void)decode_image(bytes_of(file), "x.img", {.limits = {.side_px = 8, .pixels = 16}}); });
  };
  const std::string expected = "x.img: expected at most 8 pixels a side and 16 in all, found ";
  CHECK(error(4, 4) == "");
  CHECK(error(8, 2) == "");
  CHECK(error(2, 8) == "");
  CHECK(error(9, 1) == expected + "9 x 1");
  CHECK(error(1, 9) == expected + "1 x 9");
  CHECK(error(17, 1) == expected + "17 x 1");
  CHECK(error(3, 6) == expected + "3 x 6");
}

TEST_CASE("a file that is larger than the limit is refused before it is read") {
  const test::TemporaryFolder folder;
  const auto file = folder.write("x.png", png(1, 1, 8, 2, std::string(4, '\0')));
  const auto bytes = std::int64_t(std::filesystem::file_size(file));
  CHECK(read_image(file, {.limits = {.file_bytes = bytes}}).width == 1);
  CHECK(error_of<ImageError>([&] { (void)read_image(file, {.limits = {.file_bytes = bytes - 1}}); }) ==
        file.string() + ": expected a file of at most " + std::to_string(bytes - 1) + " bytes, found " +
            std::to_string(bytes));
  // 8 TiB, of which the disk holds none: no memory could.
  std::error_code no_holes;
  const std::uintmax_t large = std::uintmax_t(1) << 43;
  std::filesystem::resize_file(file, large, no_holes);
  if (no_holes) {
    MESSAGE("skipped: no file of 8 TiB here");
    return;
  }
  CHECK(error_of<ImageError>([&] { (void)read_image(file); }) ==
        file.string() + ": expected a file of at most 536870912 bytes, found " + std::to_string(large));
}

TEST_CASE("a small file that inflates to gigabytes is refused with little memory") {
  // 1 x 1, and 60 stored megabytes behind it: more than stb_image is given.
  std::string rows("\x78\x01", 2);
  for (int block = 0; block < 1000; ++block) rows += std::string("\0\xff\xff\0\0", 5) + std::string(65535, 'x');
  std::string compressed(rows);
  const std::string file = png(1, 1, 8, 2, "x");
  const std::string bomb = file.substr(0, file.find("IDAT") - 4) + chunk("IDAT", compressed) + chunk("IEND", "");
  CHECK(error_of_decoding(bomb).starts_with("x.img: cannot decode the picture"));
}

TEST_CASE("what is not decoded is said plainly") {
  CHECK(error_of_decoding("\1\2") ==
        "x.img: expected a PNG, JPEG, WebP, GIF, BMP or TIFF file, found the signature of none in 2 bytes");
  CHECK(error_of_decoding("") ==
        "x.img: expected a PNG, JPEG, WebP, GIF, BMP or TIFF file, found the signature of none in 0 bytes");
  CHECK(error_of_decoding(png(1, 1, 8, 2, "four", chunk("CgBI", "1234"))) ==
        "x.img: the PNG chunk CgBI is not known, and must be");
  CHECK(error_of_decoding(png(2, 2, 8, 2, "short")).starts_with("x.img: cannot decode the picture: "));
  CHECK(error_of_decoding(png(1, 1, 16, 3, "abc", chunk("PLTE", "rgb"))) ==
        "x.img: expected a palette PNG of at most 8 bits, found 16");
  CHECK(error_of_decoding(png(1, 1, 8, 3, "ab")) == "x.img: expected a PLTE chunk in a palette PNG");
  CHECK(error_of_decoding(png(1, 1, 8, 3, "ab", chunk("PLTE", "four"))) ==
        "x.img: expected a palette of at most 256 colours, found 4 bytes");
  CHECK(error_of_decoding(png(1, 1, 8, 2, "four", chunk("\x1b[2J", ""))) ==
        "x.img: expected a PNG chunk type of four letters at 37, found other bytes");
  std::string jpeg = golden_file("jpeg_1x1.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 4, 1, "\x0c")) ==
        "x.img: expected a JPEG of 8 bits a sample, found 12");
  CHECK(error_of_decoding(std::string(jpeg).replace(frame + 1, 1, "\xc9")) ==
        "x.img: expected a baseline or progressive JPEG, found kind 9");
}

TEST_CASE("bytes that fill the space before a JPEG marker are no part of the picture") {
  const std::string jpeg = golden_file("jpeg_161x96.jpg");
  const Image plain = decode_image(bytes_of(jpeg), "plain");
  for (const char* marker : {"\xff\xdb", "\xff\xc0", "\xff\xc4", "\xff\xda"}) {
    const std::size_t at = jpeg.find(marker);
    REQUIRE(at != jpeg.npos);
    const std::string filled = std::string(jpeg).insert(at, "\xff\xff\xff");
    CHECK(decode_image(bytes_of(filled), "filled").rgb == plain.rgb);
  }
}

TEST_CASE("a JPEG with two frame headers is refused") {
  const std::string jpeg = golden_file("jpeg_1x1.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != jpeg.npos);
  const std::size_t bytes = 2 + std::uint8_t(jpeg[frame + 2]) * 256u + std::uint8_t(jpeg[frame + 3]);
  CHECK(error_of_decoding(std::string(jpeg).insert(frame, jpeg.substr(frame, bytes))) ==
        "x.img: expected one frame header in a JPEG, found two");
}

TEST_CASE("a Huffman table longer than any is refused") {
  std::string jpeg = golden_file("jpeg_1x1.jpg");
  const std::size_t table = jpeg.find("\xff\xc4");
  REQUIRE(table != jpeg.npos);
  CHECK(error_of_decoding(std::string(jpeg).replace(table + 5, 2, "\xff\xff"))
            .starts_with("x.img: expected a Huffman table of at most 256 codes, found "));
  CHECK(error_of_decoding(std::string(jpeg).replace(table + 20, 1, "\x7f"))
            .starts_with("x.img: expected a Huffman table of at most "));
}

TEST_CASE("a JPEG of more scans than any encoder makes is refused") {
  const std::string jpeg = golden_file("jpeg_1x1.jpg");
  const std::string scan("\xff\xda\0\x02", 4);
  std::string scans;
  for (int i = 0; i < 256; ++i) scans += scan;
  CHECK(error_of_decoding(std::string(jpeg).insert(jpeg.size() - 2, scans)) ==
        "x.img: expected a JPEG of at most 256 scans, found more");
}

TEST_CASE("a missing file is named") {
  CHECK(error_of<FileError>([] { (void)read_image("/nowhere/at/all.png"); }) ==
        "/nowhere/at/all.png: cannot read the image: No such file or directory");
  const test::TemporaryFolder folder;
  CHECK(error_of<Error>([&] { (void)read_image(folder.path()); }).starts_with(folder.path().string()));
  const auto file = folder.write("text.png", "not a picture");
  CHECK(error_of<ImageError>([&] { (void)read_image(file); }) ==
        file.string() + ": this is a file of text: expected PNG, JPEG, WebP, GIF, BMP or TIFF, so convert it first");
}

}  // namespace
