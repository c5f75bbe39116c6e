#include "ivl/image/normalise.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "ivl/files/safetensors.hpp"
#include "tests/image/golden.hpp"

namespace {

using namespace ivl;

template <class Scalar>
bool same_bits(Scalar a, Scalar b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// What a pixel never becomes.
template <class Scalar>
Scalar poison() {
  return round_to<Scalar>(std::numeric_limits<float>::quiet_NaN());
}

/// Statistics, the last of which make the products disagree with the divisions: 1 / deviation is no float.
std::vector<PixelStatistics> many_statistics() {
  std::vector<PixelStatistics> all{{}, {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}}, {{0, 0, 0}, {1, 1, 1}}};
  for (int i = 0; i < 200; ++i) {
    PixelStatistics& one = all.emplace_back();
    for (int c = 0; c < 3; ++c) {
      one.mean[c] = float(i * 3 + c) / 601;
      one.deviation[c] = 0.01f + float(i * 7 % 97 + c) / 97;
    }
  }
  all.push_back({{0.5f, 0.5f, 0.5f}, {1e-40f, 1e-40f, 1e-40f}});
  return all;
}

TEST_CASE_TEMPLATE("every level of every colour equals torchvision's, bit by bit", Scalar, float, bf16) {
  const Safetensors stored(test::pixels_folder / "pixels.safetensors");
  const TensorView* wanted = stored.find(std::is_same_v<Scalar, float> ? "normalised" : "normalised_bfloat16");
  REQUIRE(wanted != nullptr);
  REQUIRE(wanted->bytes.size() == 3 * 256 * sizeof(Scalar));
  const PixelTable<Scalar> table(PixelStatistics{});
  for (int colour = 0; colour < 3; ++colour) {
    for (int level = 0; level < 256; ++level) {
      CAPTURE(colour);
      CAPTURE(level);
      Scalar value;
      std::memcpy(&value, wanted->bytes.data() + std::size_t(colour * 256 + level) * sizeof(Scalar), sizeof(Scalar));
      REQUIRE(same_bits(table(colour, std::uint8_t(level)), value));
    }
  }
}

TEST_CASE_TEMPLATE("a row holds what the table holds, whatever the statistics", Scalar, float, bf16) {
  std::uint8_t levels[300];
  for (int x = 0; x < 300; ++x) levels[x] = std::uint8_t(x * 7);
  for (const PixelStatistics& statistics : many_statistics()) {
    const PixelTable<Scalar> table(statistics);
    for (int number : {0, 1, 15, 16, 17, 300}) {
      Scalar row[320];
      std::fill(std::begin(row), std::end(row), poison<Scalar>());
      table.row(levels, number, 2, row);
      for (int x = 0; x < 320; ++x) REQUIRE(same_bits(row[x], x < number ? table(2, levels[x]) : poison<Scalar>()));
    }
  }
  CHECK(PixelTable<Scalar>(PixelStatistics{}).products_agree());  // the fast way is the one that is used
}

TEST_CASE_TEMPLATE("pixel values are the normalised tiles, with nothing written outside", Scalar, float, bf16) {
  const PixelStatistics statistics;
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int tile_px : {56, 61}) {
      for (const auto& [width, height] : {std::pair{1, 1}, {640, 480}, {30, 900}, {61, 61}}) {
        CAPTURE(tile_px);
        CAPTURE(width);
        const Image image = test::formula_image(width, height);
        const TileRules rules{.tile_px = tile_px};
        const Tiles tiles = make_tiles(pool, Picture::view(image, rules));
        const std::size_t number = tiles.pixels.size(), border = 64;
        std::vector<Scalar> apart(number, poison<Scalar>()), fused(number + 2 * border, poison<Scalar>());
        normalise(pool, tiles, statistics, apart.data());
        make_pixel_values<Scalar>(pool, Picture::view(image, rules), statistics,
                                  std::span(fused).subspan(border, number));

        const PixelTable<Scalar> table(statistics);
        const std::size_t plane = std::size_t(tile_px) * std::size_t(tile_px);
        for (std::size_t i = 0; i < fused.size(); ++i) {
          if (i < border || i >= border + number) {
            REQUIRE(same_bits(fused[i], poison<Scalar>()));
            continue;
          }
          const std::size_t at = i - border, tile = at / (3 * plane), colour = at / plane % 3, pixel = at % plane;
          const Scalar wanted = table(int(colour), tiles.pixels[(tile * plane + pixel) * 3 + colour]);
          REQUIRE(same_bits(apart[at], wanted));
          REQUIRE(same_bits(fused[i], wanted));
        }
      }
    }
  }
}

TEST_CASE("impossible statistics and a wrong amount of room are refused") {
  CHECK_THROWS_AS(PixelTable<float>({{0, 0, 0}, {1, 0, 1}}), ConfigError);
  CHECK_THROWS_AS(PixelTable<float>({{0, 0, 0}, {1, -1, 1}}), ConfigError);
  CHECK_THROWS_AS(PixelTable<float>({{0, std::nanf(""), 0}, {1, 1, 1}}), ConfigError);
  CHECK_THROWS_AS(PixelTable<float>({{0, 0, 0}, {1, 1, std::nanf("")}}), ConfigError);
  ThreadPool pool(1);
  std::vector<float> room(3 * 8 * 8);
  CHECK_THROWS_WITH_AS(make_pixel_values<float>(pool, Picture(test::formula_image(20, 10), {.tile_px = 8}), {}, room),
                       "pixel values: expected room for 576 (3 tiles), found 192", RequestError);
}

}  // namespace
