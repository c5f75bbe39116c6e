#include "ivl/cuda/rows/move.cuh"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

template <class Scalar>
Scalar nan() {
  return round_to<Scalar>(std::numeric_limits<float>::quiet_NaN());
}

/// Random rows on host and device, with NaN in the gaps between them.
template <class Scalar>
struct Field {
  std::int64_t count, width, stride;
  std::vector<Scalar> host;
  DeviceArray<Scalar> device;

  Field(std::int64_t count, std::int64_t width, std::int64_t gap, unsigned seed)
      : count(count),
        width(width),
        stride(width + gap),
        host(random_rows(count, width, width + gap, seed)),
        device(host) {}
  static std::vector<Scalar> random_rows(std::int64_t count, std::int64_t width, std::int64_t stride, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<Scalar> rows(std::size_t(count * stride), nan<Scalar>());
    for (std::int64_t row = 0; row < count; ++row) {
      for (std::int64_t i = 0; i < width; ++i) rows[std::size_t(row * stride + i)] = round_to<Scalar>(normal(random));
    }
    return rows;
  }
  Rows<const Scalar> rows() { return {device.data(), count, width, stride}; }
  float at(std::int64_t row, std::int64_t i) const { return to_float(host[std::size_t(row * stride + i)]); }
};

/// Rows that an op writes. check(want) compares all of them with want(row, i), and finds the gaps still NaN.
template <class Scalar>
struct Result {
  std::int64_t count, width, stride;
  DeviceArray<Scalar> device;

  Result(std::int64_t count, std::int64_t width, std::int64_t gap)
      : count(count), width(width), stride(width + gap), device(std::size_t(count * (width + gap))) {}
  Rows<Scalar> rows() { return {device.data(), count, width, stride}; }

  template <class Want>
  void check(const Want& want) {
    const std::vector<Scalar> found = device.download();
    int wrong = 0;
    for (std::int64_t row = 0; row < count; ++row) {
      for (std::int64_t i = 0; i < stride; ++i) {
        const float x = to_float(found[std::size_t(row * stride + i)]);
        wrong += i < width ? !(x == want(row, i)) : x == x;
      }
    }
    CHECK(wrong == 0);
  }
};

// Scalar by scalar; 16 bytes at a time (the gap keeps rows aligned); more pieces than a block has threads.
struct Case {
  std::int64_t width, gap;
};
constexpr Case cases[] = {{37, 3}, {48, 8}, {2112, 0}};

template <class Stored, class Scalar>
void check_embed(cuda::Context& ctx, const Case& c) {
  constexpr int table_rows = 11, rows = 9;
  Field<Stored> file(table_rows, c.width, 0, 3);
  Field<Scalar> images(4, c.width, c.gap, 5);
  std::vector<std::int32_t> sources;
  for (int row = 0; row < rows; ++row) sources.push_back(row % 5 == 2 ? -1 - row % 4 : row * 7 % table_rows);
  DeviceArray<std::int32_t> device_sources(sources);
  Result<Scalar> y(rows, c.width, c.gap);
  const std::size_t bytes = file.host.size() * sizeof(Stored);
  const PlacedTable table{format_of(kind_of<Stored>),
                          table_rows,
                          c.width,
                          {nullptr, reinterpret_cast<std::byte*>(file.device.data()), bytes}};
  embed(ctx, device_sources.data(), table, images.rows(), y.rows());
  y.check([&](std::int64_t row, std::int64_t i) {
    const std::int64_t source = sources[std::size_t(row)];
    return source < 0 ? images.at(-1 - source, i) : to_float(round_to<Scalar>(file.at(source, i)));
  });
}

}  // namespace

TEST_CASE_TEMPLATE("on CUDA embed takes rows of the table and, for negative sources, rows of the pictures", Scalar,
                   bf16, float) {
  cuda::Context ctx;
  for_each_order([&] {
    for (const Case& c : cases) {
      CAPTURE(c.width);
      check_embed<bf16, Scalar>(ctx, c);
    }
    check_embed<float, Scalar>(ctx, {.width = 48, .gap = 8});
    check_embed<half, Scalar>(ctx, {.width = 48, .gap = 8});
    check_embed<half, Scalar>(ctx, {.width = 37, .gap = 3});
  });
}

TEST_CASE("on CUDA embed needs no pictures where no source is negative") {
  cuda::Context ctx;
  for (const std::int64_t width : {16, 13}) {
    Field<bf16> file(3, width, 0, 3);
    DeviceArray<std::int32_t> sources(std::vector<std::int32_t>{2, 0});
    Result<bf16> y(2, width, 0);
    const std::size_t bytes = file.host.size() * sizeof(bf16);
    const PlacedTable table{Format::bf16, 3, width, {nullptr, reinterpret_cast<std::byte*>(file.device.data()), bytes}};
    embed(ctx, sources.data(), table, Rows<const bf16>(), y.rows());
    y.check([&](std::int64_t row, std::int64_t i) { return file.at(row == 0 ? 2 : 0, i); });
    embed(ctx, nullptr, table, Rows<const bf16>(), Rows<bf16>(nullptr, 0, width));  // no rows: nothing is read
  }
}

TEST_CASE_TEMPLATE("on CUDA gather_rows takes rows in any order, also twice", Scalar, bf16, float) {
  cuda::Context ctx;
  const std::vector<std::int32_t> indices{8, 0, 3, 3, 7};
  for (const Case& c : cases) {
    CAPTURE(c.width);
    for_each_order([&] {
      Field<Scalar> x(9, c.width, c.gap, 1);
      Result<Scalar> y(5, c.width, c.gap);
      DeviceArray<std::int32_t> device_indices(indices);
      gather_rows(ctx, device_indices.data(), x.rows(), y.rows());
      y.check([&](std::int64_t row, std::int64_t i) { return x.at(indices[std::size_t(row)], i); });
    });
  }
}

TEST_CASE_TEMPLATE("on CUDA unfold_patches lays out each patch by channel, row and column", Scalar, bf16, float) {
  cuda::Context ctx;
  for (const int patch_px : {5, 6}) {
    const int tiles = 2, side = 3, tile_px = side * patch_px;
    CAPTURE(patch_px);
    for_each_order([&] {
      Field<Scalar> pixels(tiles, 3 * tile_px * tile_px, 2, 1);
      Result<Scalar> patches(tiles * side * side, 3 * patch_px * patch_px, 2);
      unfold_patches(ctx, tile_px, patch_px, pixels.rows(), patches.rows());
      patches.check([&](std::int64_t patch, std::int64_t i) {
        const std::int64_t place = patch % (side * side), channel = i / (patch_px * patch_px);
        const std::int64_t row = place / side * patch_px + i / patch_px % patch_px;
        const std::int64_t column = place % side * patch_px + i % patch_px;
        return pixels.at(patch / (side * side), (channel * tile_px + row) * tile_px + column);
      });
    });
  }
}

TEST_CASE_TEMPLATE("on CUDA add_positions puts the class token first in every tile and rounds the sum once", Scalar,
                   bf16, float) {
  cuda::Context ctx;
  const int side = 2, tiles = 2, tokens = 1 + side * side;
  for (const Case& c : cases) {
    CAPTURE(c.width);
    for_each_order([&] {
      Field<Scalar> patches(tiles * side * side, c.width, c.gap, 1);
      Field<float> class_token(1, c.width, 0, 2), positions(tokens, c.width, 0, 3);
      Result<Scalar> x(tiles * tokens, c.width, c.gap);
      add_positions(ctx, side, patches.rows(), class_token.device.data(), positions.device.data(), x.rows());
      x.check([&](std::int64_t row, std::int64_t i) {
        const std::int64_t tile = row / tokens, token = row % tokens;
        const float first = token == 0 ? class_token.at(0, i) : patches.at(tile * (tokens - 1) + token - 1, i);
        return to_float(round_to<Scalar>(first + positions.at(token, i)));
      });
    });
  }
}

TEST_CASE_TEMPLATE("on CUDA pixel_shuffle joins blocks of patches in both of InternVL's orders", Scalar, bf16, float) {
  cuda::Context ctx;
  for (const Case& c : {Case{7, 3}, Case{16, 8}}) {
    for (const int scale : {2, 3}) {
      const int side = 6, tiles = 2, g = side / scale, tokens = 1 + side * side;
      CAPTURE(c.width);
      CAPTURE(scale);
      for_each_order([&] {
        Field<Scalar> x(tiles * tokens, c.width, c.gap, 1);
        for (const ShuffleOrder order : {ShuffleOrder::v1, ShuffleOrder::v2}) {
          Result<Scalar> y(tiles * g * g, scale * scale * c.width, c.gap);
          pixel_shuffle(ctx, side, scale, order, x.rows(), y.rows());
          y.check([&](std::int64_t token, std::int64_t i) {
            const std::int64_t first = token % (g * g) / g, second = token % g, block = i / c.width;
            const std::int64_t R = order == ShuffleOrder::v2 ? first : second,
                               Q = order == ShuffleOrder::v2 ? second : first;
            const std::int64_t row = scale * R + block / scale, column = scale * Q + block % scale;
            return x.at(token / (g * g) * tokens + 1 + row * side + column, i % c.width);
          });
        }
      });
    }
  }
}

TEST_CASE("on CUDA rows that are looked up and moved may lie further apart than 32 bits count") {
  cuda::Context ctx;
  constexpr int width = 64, rows = FarRows<bf16>::rows, first_row = 1 << 26;
  Field<bf16> field(rows, width, 0, 1);
  FarRows<bf16> far(field.host), moved(width);
  DeviceArray<std::int32_t> indices(std::vector<std::int32_t>{2, 0, 1}),
      sources(std::vector<std::int32_t>{first_row + 2, -3, first_row});
  const auto check = [&](const std::vector<bf16>& found, std::initializer_list<int> wanted) {
    int wrong = 0, row = 0;
    for (const int of : wanted) {
      for (int i = 0; i < width; ++i) wrong += !(to_float(found[std::size_t(row * width + i)]) == field.at(of, i));
      ++row;
    }
    CHECK(wrong == 0);
  };
  gather_rows(ctx, indices.data(), Rows<const bf16>(far.view()), moved.view());
  check(moved.download(), {2, 0, 1});
  // A table whose memory begins with row `first_row`.
  const PlacedTable table{
      Format::bf16,
      first_row + rows,
      width,
      {nullptr, reinterpret_cast<std::byte*>(field.device.data()) - std::int64_t(2) * first_row * width, 0}};
  embed(ctx, sources.data(), table, Rows<const bf16>(far.view()), moved.view());
  check(moved.download(), {2, 2, 0});
}

TEST_CASE("on CUDA rows that do not fit together are refused, in any build") {
  cuda::Context ctx;
  const Rows<float> four(nullptr, 4, 48), five(nullptr, 5, 48), wide(nullptr, 4, 64);
  const Rows<const float> x(four);
  PlacedTable table;
  table.width = 64;
  CHECK_THROWS_WITH_AS(embed(ctx, nullptr, table, Rows<const float>(nullptr, 0, 48), four),
                       "embed on CUDA: expected y as wide as the table and the images, 64 and 48 scalars, found 48",
                       RequestError);
  CHECK_THROWS_WITH_AS(gather_rows(ctx, nullptr, x, wide),
                       "gather_rows on CUDA: expected y of 48 scalars a row, found 64", RequestError);
  CHECK_THROWS_AS(unfold_patches(ctx, 8, 3, x, four), RequestError);
  CHECK_THROWS_AS(unfold_patches(ctx, 8, 4, Rows<const float>(nullptr, 1, 192), Rows<float>(nullptr, 3, 48)),
                  RequestError);
  CHECK_THROWS_AS(unfold_patches(ctx, 8, 4, Rows<const float>(nullptr, 1, 191), four), RequestError);
  CHECK_THROWS_AS(add_positions(ctx, 2, x, nullptr, nullptr, four), RequestError);
  CHECK_THROWS_AS(add_positions(ctx, 2, Rows<const float>(nullptr, 3, 48), nullptr, nullptr, five), RequestError);
  CHECK_THROWS_AS(pixel_shuffle(ctx, 3, 2, ShuffleOrder::v2, x, four), RequestError);
  CHECK_THROWS_AS(pixel_shuffle(ctx, 2, 2, ShuffleOrder::v2, x, four), RequestError);
}
