#include "ivl/image/boxes.hpp"

#include <doctest/doctest.h>

#include <string>

#include "examples/drawn_boxes.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/write_png.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace ivl;
using test::error_of;

/// Rows of '#', where the colour was drawn, and '.'.
std::string frame_of(int width, int height, const PixelBox& box) {
  Image picture{width, height, std::vector<std::uint8_t>(std::size_t(3 * width * height), 9)};
  draw_box(picture, box, {200, 100, 50});
  std::string shown;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const std::uint8_t* pixel = picture.row(y) + 3 * x;
      const bool coloured = pixel[0] == 200 && pixel[1] == 100 && pixel[2] == 50;
      CHECK((coloured || (pixel[0] == 9 && pixel[1] == 9 && pixel[2] == 9)));
      shown += coloured ? '#' : '.';
    }
    shown += '\n';
  }
  return shown;
}

TEST_CASE("thousandths are of the picture's own width and height") {
  CHECK(box_in_pixels({0, 250, 500, 1000}, {640, 480}) == PixelBox{0, 120, 320, 480});
  CHECK(box_in_pixels({1, 1, 999.5, 2}, {3000, 2000}) == PixelBox{3, 2, 2998.5, 4});
}

TEST_CASE("a frame lies inside of its box, and is cut to the picture") {
  CHECK(frame_of(10, 8, {1, 1, 8, 7}) ==
        "..........\n"
        ".#######..\n"
        ".#######..\n"
        ".##...##..\n"
        ".##...##..\n"
        ".#######..\n"
        ".#######..\n"
        "..........\n");
  CHECK(frame_of(6, 3, {1.5, -4, 2.5, 1.01}) == ".##...\n.##...\n......\n");
  CHECK(frame_of(3, 2, {2, 1, 2, 1}) == "...\n..#\n");
  CHECK(frame_of(3, 2, {3, 2, 3, 2}) == "...\n..#\n");
  CHECK(frame_of(3, 2, {-1e30, -1e30, 1e30, 1e30}) == "###\n###\n");
  Image large{1000, 800, std::vector<std::uint8_t>(3 * 1000 * 800)};
  draw_box(large, {0, 0, 1000, 800}, {1, 1, 1});
  CHECK(large.row(3)[3 * 500] == 1);  // 4 pixels wide
  CHECK(large.row(4)[3 * 500] == 0);
}

TEST_CASE("an answer's boxes are drawn, of several pictures in the one that it has named") {
  const test::TemporaryFolder folder;
  const Picture wide(test::formula_image(40, 20), {}), tall(test::formula_image(20, 40), {});
  const auto with_box = [](const Picture& picture, const PixelBox& box, const std::array<std::uint8_t, 3>& colour) {
    Image drawn = *picture.image();
    draw_box(drawn, box, colour);
    return drawn;
  };
  draw_boxes("<ref>x</ref><box>[[250, 250, 750, 750]]</box>", {wide}, folder / "one.png");
  CHECK(read_image(folder / "one.png") == with_box(wide, {10, 5, 30, 15}, {230, 25, 40}));
  draw_boxes(
      "<box>[[0, 0, 9, 9]]</box> Image-2: <box>[[500, 500, 1000, 1000]]</box> Image-3: <box>[[1, 1, 2, 2]]</box>",
      {wide, tall}, folder / "two.png");
  CHECK(read_image(folder / "two-1.png") == *wide.image());
  CHECK(read_image(folder / "two-2.png") == with_box(tall, {10, 20, 20, 40}, {40, 170, 60}));
  CHECK_FALSE(std::filesystem::exists(folder / "two.png"));
}

TEST_CASE("a written PNG holds the picture") {
  const test::TemporaryFolder folder;
  const auto path = folder / "x.png";
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 5}, {300, 200}}) {
    const Image picture = test::formula_image(width, height);
    write_png(path, picture);
    CHECK(read_image(path) == picture);
  }
  const auto nowhere = folder / "none" / "x.png";
  CHECK(error_of<FileError>([&] {
          write_png(nowhere, test::formula_image(1, 1));
        }).starts_with(nowhere.string() + ": cannot write "));
  CHECK(error_of<ImageError>([&] { write_png(path, {}); }).starts_with("picture: expected width * height * 3 bytes"));
}

}  // namespace
