#include "ivl/cpu/move.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/cpu/place.hpp"
#include "tests/support/file_matrix.hpp"

namespace {

using namespace ivl;
using namespace ivl_test;

/// Rows of random numbers with NaN between and around them.
template <class Scalar>
struct Field {
  static constexpr int gap = 3;
  std::int64_t count, width;
  std::vector<Scalar> memory;

  Field(std::int64_t count, std::int64_t width, unsigned seed)
      : count(count), width(width), memory(std::size_t((count + 2) * (width + gap)), nan()) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (std::int64_t row = 0; seed != 0 && row < count; ++row) {
      for (std::int64_t i = 0; i < width; ++i) rows()[row][i] = round_to<Scalar>(normal(random));
    }
  }
  static Scalar nan() { return round_to<Scalar>(std::numeric_limits<float>::quiet_NaN()); }
  Rows<Scalar> rows() { return {memory.data() + width + gap, count, width, width + gap}; }
  Rows<const Scalar> read() { return rows(); }
  float at(std::int64_t row, std::int64_t i) { return to_float(rows()[row][i]); }
  bool gaps_are_nan() {
    for (std::int64_t row = 0; row < count + 2; ++row) {
      for (std::int64_t i = row >= 1 && row <= count ? width : 0; i < width + gap; ++i) {
        const float x = to_float(memory[std::size_t(row * (width + gap) + i)]);
        if (x == x) return false;
      }
    }
    return true;
  }
};

template <class Stored>
PlacedTable table_of(const std::vector<Stored>& numbers, std::int64_t width) {
  const auto buffer = std::make_shared<Buffer>(numbers.size() * sizeof(Stored));
  std::memcpy(buffer->data(), numbers.data(), buffer->size());
  return {format_of(kind_of<Stored>),
          std::int64_t(numbers.size()) / width,
          width,
          {buffer, buffer->data(), buffer->size()}};
}

TEST_CASE_TEMPLATE("embed takes rows of the table and, for negative sources, rows of the pictures", Scalar, float,
                   bf16) {
  cpu::Context ctx(2);
  const std::int64_t width = 37;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(std::size_t(11 * width));
  for (float& x : numbers) x = normal(random);
  const auto check = [&](auto stored) {
    using Stored = decltype(stored);
    std::vector<Stored> file;
    for (const float x : numbers) file.push_back(round_to<Stored>(x));
    Field<Scalar> images(4, width, 5), y(20, width, 0);
    std::vector<std::int32_t> sources;
    for (int row = 0; row < 20; ++row) sources.push_back(row % 5 == 2 ? -1 - row % 4 : row * 7 % 11);
    embed(ctx, sources.data(), table_of(file, width), images.read(), y.rows());
    int wrong = 0;
    for (int row = 0; row < 20; ++row) {
      for (int i = 0; i < width; ++i) {
        const std::int32_t source = sources[std::size_t(row)];
        const float expected = source < 0 ? images.at(-1 - source, i)
                                          : to_float(round_to<Scalar>(to_float(file[std::size_t(source * width + i)])));
        wrong += !(y.at(row, i) == expected);
      }
    }
    CHECK(wrong == 0);
    CHECK(y.gaps_are_nan());
  };
  check(float{});
  check(bf16{});
  check(half{});
}

TEST_CASE_TEMPLATE("embed takes rows of tables in every format, each number rounded once", Scalar, float, bf16) {
  cpu::Context ctx(2);
  std::mt19937 random(4);
  const int rows = 16, width = 256;
  for (const Format format : every_format) {
    CAPTURE(name_of(format));
    const FileMatrix file(format, rows, width, random);
    const PlacedTable table = place_table(ctx, file.source());
    CHECK(table.format == format);
    CHECK(table.rows == rows);
    CHECK(table.width == width);
    const std::vector<std::int32_t> sources{15, 0, 7, 7, 9};
    Field<Scalar> y(5, width, 0);
    embed(ctx, sources.data(), table, Rows<const Scalar>(), y.rows());
    int wrong = 0;
    for (int r = 0; r < 5; ++r) {
      for (int i = 0; i < width; ++i)
        wrong += !(y.at(r, i) == to_float(round_to<Scalar>(float(file.at(sources[std::size_t(r)], i)))));
    }
    CHECK(wrong == 0);
    CHECK(y.gaps_are_nan());
  }
}

TEST_CASE_TEMPLATE("gather_rows takes rows in any order, also twice", Scalar, float, bf16) {
  cpu::Context ctx(2);
  Field<Scalar> x(9, 13, 1), y(5, 13, 0);
  const std::int32_t indices[] = {8, 0, 3, 3, 7};
  gather_rows(ctx, indices, x.read(), y.rows());
  for (int row = 0; row < 5; ++row) {
    for (int i = 0; i < 13; ++i) CHECK(y.at(row, i) == x.at(indices[row], i));
  }
  CHECK(y.gaps_are_nan());
}

TEST_CASE_TEMPLATE("unfold_patches lays out each patch by channel, row and column", Scalar, float, bf16) {
  cpu::Context ctx(2);
  const int tile_px = 15, patch_px = 5, side = 3, tiles = 2;
  Field<Scalar> pixels(tiles, 3 * tile_px * tile_px, 1), patches(tiles * side * side, 3 * patch_px * patch_px, 0);
  unfold_patches(ctx, tile_px, patch_px, pixels.read(), patches.rows());
  int wrong = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < 3; ++channel) {
      for (int row = 0; row < tile_px; ++row) {
        for (int column = 0; column < tile_px; ++column) {
          const int patch = tile * side * side + row / patch_px * side + column / patch_px;
          const int place = (channel * patch_px + row % patch_px) * patch_px + column % patch_px;
          wrong += !(patches.at(patch, place) == pixels.at(tile, (channel * tile_px + row) * tile_px + column));
        }
      }
    }
  }
  CHECK(wrong == 0);
  CHECK(patches.gaps_are_nan());
}

TEST_CASE_TEMPLATE("add_positions puts the class token first in every tile and rounds the sum once", Scalar, float,
                   bf16) {
  cpu::Context ctx(2);
  const int side = 3, tiles = 2, width = 21, tokens = 1 + side * side;
  Field<Scalar> patches(tiles * side * side, width, 1), x(tiles * tokens, width, 0);
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> class_token(width), positions(std::size_t(tokens * width));
  for (float& f : class_token) f = normal(random);
  for (float& f : positions) f = normal(random);
  add_positions(ctx, side, patches.read(), class_token.data(), positions.data(), x.rows());
  int wrong = 0;
  for (int row = 0; row < tiles * tokens; ++row) {
    const int tile = row / tokens, token = row % tokens;
    for (int i = 0; i < width; ++i) {
      const float first = token == 0 ? class_token[std::size_t(i)] : patches.at(tile * (tokens - 1) + token - 1, i);
      wrong += !(x.at(row, i) == to_float(round_to<Scalar>(first + positions[std::size_t(token * width + i)])));
    }
  }
  CHECK(wrong == 0);
  CHECK(x.gaps_are_nan());
}

TEST_CASE_TEMPLATE("pixel_shuffle joins blocks of patches in both of InternVL's orders", Scalar, float, bf16) {
  cpu::Context ctx(2);
  for (const int scale : {2, 3}) {
    const int side = 6, tiles = 2, width = 7, g = side / scale, tokens = 1 + side * side;
    Field<Scalar> x(tiles * tokens, width, 1);
    for (const ShuffleOrder order : {ShuffleOrder::v1, ShuffleOrder::v2}) {
      Field<Scalar> y(tiles * g * g, scale * scale * width, 0);
      pixel_shuffle(ctx, side, scale, order, x.read(), y.rows());
      int wrong = 0;
      for (int tile = 0; tile < tiles; ++tile) {
        for (int row = 0; row < side; ++row) {
          for (int column = 0; column < side; ++column) {
            const int R = row / scale, Q = column / scale;
            const int token = tile * g * g + (order == ShuffleOrder::v2 ? g * R + Q : g * Q + R);
            const int block = row % scale * scale + column % scale;
            for (int i = 0; i < width; ++i) {
              wrong += !(y.at(token, block * width + i) == x.at(tile * tokens + 1 + row * side + column, i));
            }
          }
        }
      }
      CHECK(wrong == 0);
      CHECK(y.gaps_are_nan());
    }
  }
}

}  // namespace
