#include "ivl/image/resize.hpp"

#include <doctest/doctest.h>

#include <random>

#include "tests/image/golden.hpp"
#include "tests/image/plain_resize.hpp"

namespace {

using namespace ivl;
using test::AllQuads;

/// Noise, black and white, or a soft picture.
Image drawn(std::mt19937& random, int width, int height) {
  Image image{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  const auto kind = random() % 3;
  int level = 128;
  for (std::uint8_t& byte : image.rgb) {
    if (kind == 0) level = int(random() % 256);
    if (kind == 1) level = random() % 2 == 0 ? 0 : 255;
    if (kind == 2) level = std::clamp(level + int(random() % 9) - 4, 0, 255);
    byte = std::uint8_t(level);
  }
  return image;
}

TEST_CASE("weights are those of Pillow") {
  const BicubicAxis down = bicubic_axis(7, 4), up = bicubic_axis(7, 10);
  const std::vector<std::int32_t> first{2312533, 1925784, 116586, -160599};
  const std::vector<std::int32_t> second{-156061, 861991, 2330599, 1327164, -72657, -96732};
  const std::vector<std::int32_t> fifth{-166986, 1491862, 3179545, -310116};
  const auto weights = [](const BicubicAxis& axis, std::size_t at) {
    return std::vector(axis.weights.begin() + axis.begin[at], axis.weights.begin() + axis.begin[at + 1]);
  };
  CHECK(down.first[0] == 0);
  CHECK(weights(down, 0) == first);
  CHECK(down.first[1] == 0);
  CHECK(weights(down, 1) == second);
  CHECK(up.first[4] == 1);
  CHECK(weights(up, 4) == fifth);
}

TEST_CASE("weights agree with steps that a compiler cannot fuse") {
  std::mt19937 random(1);
  std::vector<std::pair<int, int>> sizes{{1, 448}, {448, 448}, {16384, 448}, {449, 448}, {447, 448}, {3, 1}};
  for (int i = 0; i < 300; ++i) sizes.emplace_back(1 + random() % 3000, 1 + random() % 2000);
  for (const auto& [source, target] : sizes) {
    CAPTURE(source);
    CAPTURE(target);
    const BicubicAxis axis = bicubic_axis(source, target);
    for (std::size_t at = 0; at < std::size_t(target); ++at) {
      const test::PlainTaps taps = test::plain_taps(source, target, int(at));
      REQUIRE(axis.first[at] == taps.first);
      REQUIRE(std::size_t(axis.begin[at + 1] - axis.begin[at]) == taps.weights.size());
      std::int64_t magnitude = 0;
      for (std::size_t i = 0; i < taps.weights.size(); ++i) {
        REQUIRE(axis.weights[std::size_t(axis.begin[at]) + i] == taps.weights[i]);
        magnitude += std::abs(taps.weights[i]);
      }
      REQUIRE(double(magnitude) < 1.3 * (1 << 22));  // what keeps a sum within 32 bits
    }
  }
}

TEST_CASE_TEMPLATE_DEFINE("one row is resized as Pillow resizes it", Quads, rows_as_pillow) {
  ThreadPool pool(1);
  for (const Json& golden : test::golden_pixels()["rows"]) {
    const auto source = golden["source"].get<std::vector<std::uint8_t>>(),
               wanted = golden["result"].get<std::vector<std::uint8_t>>();
    Image image{int(source.size()), 1, {}};
    for (const std::uint8_t level : source) image.rgb.insert(image.rgb.end(), 3, level);
    const Image result = resize<Quads>(pool, image, {int(wanted.size()), 1});
    CAPTURE(source.size());
    for (std::size_t x = 0; x < wanted.size(); ++x) {
      for (std::size_t c = 0; c < 3; ++c) REQUIRE(int(result.rgb[3 * x + c]) == int(wanted[x]));
    }
  }
}
TEST_CASE_TEMPLATE_APPLY(rows_as_pillow, AllQuads);

TEST_CASE_TEMPLATE_DEFINE("pictures are resized as Pillow resizes them, portrait ones too", Quads, pictures_as_pillow) {
  ThreadPool pool(2);
  for (const Json& golden : test::golden_pixels()["resizes"]) {
    const int width = golden["to"][0], height = golden["to"][1];
    const Image result =
        resize<Quads>(pool, test::formula_image(golden["from"][0], golden["from"][1]), {width, height});
    CAPTURE(golden.dump());
    REQUIRE(result.width == width);
    REQUIRE(result.height == height);
    REQUIRE(test::fnv1a64(result.rgb) == golden["fnv1a64"].get<std::string>());
  }
}
TEST_CASE_TEMPLATE_APPLY(pictures_as_pillow, AllQuads);

TEST_CASE_TEMPLATE_DEFINE("any size to any size agrees with one plain sum a pixel, on one thread and on several", Quads,
                          as_plain) {
  std::mt19937 random(2);
  ThreadPool one(1), several(3);
  struct Case {
    int width, height, to_width, to_height;
  };
  std::vector<Case> cases{{1, 1, 1, 1},       {1, 1, 70, 3},      {1, 200, 5, 5},   {200, 1, 5, 5},
                          {1000, 10, 64, 64}, {10, 1000, 64, 64}, {3, 300, 17, 9},  {64, 64, 64, 64},
                          {64, 48, 64, 31},   {48, 64, 31, 64},   {600, 2, 2, 400}, {16, 16, 128, 16},
                          {15, 17, 1, 1},     {5, 2000, 130, 33}, {130, 33, 65, 63}};
  const auto up_to = [&](unsigned most) { return 1 + int(random() % most); };
  for (int i = 0; i < 40; ++i) cases.push_back({up_to(90), up_to(90), up_to(140), up_to(90)});
  for (const auto& [width, height, to_width, to_height] : cases) {
    CAPTURE(width);
    CAPTURE(height);
    CAPTURE(to_width);
    CAPTURE(to_height);
    const Image source = drawn(random, width, height);
    const Image wanted = test::plain_resize(source, to_width, to_height);
    REQUIRE(resize<Quads>(one, source, {to_width, to_height}) == wanted);
    REQUIRE(resize<Quads>(several, source, {to_width, to_height}) == wanted);
  }
}
TEST_CASE_TEMPLATE_APPLY(as_plain, AllQuads);

TEST_CASE_TEMPLATE_DEFINE("several sizes at once are each what they are alone", Quads, at_once) {
  std::mt19937 random(3);
  ThreadPool pool(3);
  const Image source = drawn(random, 301, 777);
  const PixelSize sizes[] = {{129, 500}, {40, 40}, {7, 1000}};
  std::vector<Image> results;
  for (const PixelSize size : sizes) {
    results.push_back(
        {size.width, size.height, std::vector<std::uint8_t>(std::size_t(size.width) * std::size_t(size.height) * 3)});
  }
  resize_rows<Quads>(pool, source, sizes, [&](int index, int y, const std::uint8_t* planes, int stride) {
    Image& result = results[std::size_t(index)];
    for (int i = 0; i < result.width * 3; ++i)
      result.rgb[std::size_t(y * result.width * 3 + i)] = planes[i % 3 * stride + i / 3];
  });
  for (std::size_t i = 0; i < results.size(); ++i)
    CHECK(results[i] == test::plain_resize(source, sizes[i].width, sizes[i].height));
}
TEST_CASE_TEMPLATE_APPLY(at_once, AllQuads);

TEST_CASE("a picture whose bytes do not match its size, and an empty one, are refused") {
  ThreadPool pool(1);
  Image image = test::formula_image(4, 3);
  CHECK_THROWS_WITH_AS(resize(pool, image, {0, 3}), "resize: expected a size of at least 1 x 1, found 0 x 3",
                       ImageError);
  image.rgb.pop_back();
  CHECK_THROWS_WITH_AS(resize(pool, image, {2, 2}),
                       "picture: expected width * height * 3 bytes, found 4 x 3 and 35 bytes", ImageError);
  CHECK_THROWS_AS(resize(pool, Image{}, {2, 2}), ImageError);
}

}  // namespace
