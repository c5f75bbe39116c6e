// The bodies of move.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/move.hpp"
#include "ivl/facts/shuffle_order.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

template <class Scalar>
void copy(const Scalar* from, std::int64_t number, Scalar* to) {
  std::memcpy(to, from, std::size_t(number) * sizeof(Scalar));
}

/// Row `row` of a table, each element rounded once.
template <class Scalar>
void read_table_row(const PlacedTable& table, std::int64_t row, Scalar* to) {
  const SourceMatrix source = packed_source(table.format, table.rows, table.width, table.memory.data);
  with_format(table.format, [&](auto tag) {
    using F = decltype(tag);
    if constexpr (F::block == 1) {
      const auto* from = reinterpret_cast<const typename F::Scalar*>(source.cells<F>(row, 0).at[0]);
      if constexpr (std::is_same_v<typename F::Scalar, Scalar>) {
        copy(from, table.width, to);
      } else {
        for (std::int64_t i = 0; i < table.width; ++i) to[i] = round_to<Scalar>(to_float(from[i]));
      }
    } else {
      float block[F::block];
      for (std::int64_t k = 0; k < table.width; k += F::block) {
        F::dequantise(source.cells<F>(row, k), block);
        for (int i = 0; i < F::block; ++i) to[k + i] = round_to<Scalar>(block[i]);
      }
    }
  });
}

/// body(row) for each row, several rows a task.
template <class Body>
void each_row(Context& ctx, std::int64_t rows, Body&& body) {
  constexpr std::int64_t rows_per_task = 16;
  ctx.pool.run(ceil_div(rows, rows_per_task), [&](std::int64_t task) {
    for (std::int64_t row = task * rows_per_task; row < std::min(rows, (task + 1) * rows_per_task); ++row) body(row);
  });
}

}  // namespace detail

template <class Scalar>
void embed(Context& ctx, const std::int32_t* sources, const PlacedTable& table, Rows<const Scalar> images,
           Rows<Scalar> y) {
  detail::each_row(ctx, y.count, [&](std::int64_t row) {
    const std::int64_t source = sources[row];
    if (source >= 0) {
      assert(source < table.rows);
      detail::read_table_row(table, source, y[row]);
    } else {
      assert(-1 - source < images.count);
      detail::copy(images[-1 - source], y.width(), y[row]);
    }
  });
}

template <class Scalar>
void gather_rows(Context& ctx, const std::int32_t* indices, Rows<const Scalar> x, Rows<Scalar> y) {
  detail::each_row(ctx, y.count, [&](std::int64_t row) { detail::copy(x[indices[row]], y.width(), y[row]); });
}

template <class Scalar>
void unfold_patches(Context& ctx, int tile_px, int patch_px, Rows<const Scalar> pixels, Rows<Scalar> patches) {
  const std::int64_t side = tile_px / patch_px, area = std::int64_t(tile_px) * tile_px;
  detail::each_row(ctx, pixels.count * side * side, [&](std::int64_t patch) {
    const std::int64_t tile = patch / (side * side), top = patch / side % side * patch_px,
                       left = patch % side * patch_px;
    Scalar* to = patches[patch];
    for (int channel = 0; channel < 3; ++channel) {
      for (int row = 0; row < patch_px; ++row, to += patch_px) {
        detail::copy(pixels[tile] + channel * area + (top + row) * tile_px + left, patch_px, to);
      }
    }
  });
}

template <class Scalar>
void add_positions(Context& ctx, int side, Rows<const Scalar> patches, const float* class_token, const float* positions,
                   Rows<Scalar> x) {
  const std::int64_t tokens = 1 + std::int64_t(side) * side, width = x.width();
  detail::each_row(ctx, x.count, [&](std::int64_t row) {
    const std::int64_t tile = row / tokens, token = row % tokens;
    const float* position = positions + token * width;
    Scalar* to = x[row];
    if (token == 0) {
      for (std::int64_t i = 0; i < width; ++i) to[i] = round_to<Scalar>(class_token[i] + position[i]);
    } else {
      const Scalar* patch = patches[tile * (tokens - 1) + token - 1];
      for (std::int64_t i = 0; i < width; ++i) to[i] = round_to<Scalar>(to_float(patch[i]) + position[i]);
    }
  });
}

template <class Scalar>
void pixel_shuffle(Context& ctx, int side, int scale, ShuffleOrder order, Rows<const Scalar> x, Rows<Scalar> y) {
  const std::int64_t g = side / scale, tokens = 1 + std::int64_t(side) * side, width = x.width();
  detail::each_row(ctx, y.count, [&](std::int64_t row) {
    const std::int64_t tile = row / (g * g), major = row / g % g, minor = row % g;
    const std::int64_t top = (order == ShuffleOrder::v2 ? major : minor) * scale;
    const std::int64_t left = (order == ShuffleOrder::v2 ? minor : major) * scale;
    Scalar* to = y[row];
    for (int dy = 0; dy < scale; ++dy) {
      for (int dx = 0; dx < scale; ++dx, to += width) {
        detail::copy(x[tile * tokens + 1 + (top + dy) * side + left + dx], width, to);
      }
    }
  });
}

#ifdef IVL_COMPILED
template void embed(Context&, const std::int32_t*, const PlacedTable&, Rows<const float>, Rows<float>);
template void gather_rows(Context&, const std::int32_t*, Rows<const float>, Rows<float>);
template void unfold_patches(Context&, int, int, Rows<const float>, Rows<float>);
template void add_positions(Context&, int, Rows<const float>, const float*, const float*, Rows<float>);
template void pixel_shuffle(Context&, int, int, ShuffleOrder, Rows<const float>, Rows<float>);
template void embed(Context&, const std::int32_t*, const PlacedTable&, Rows<const bf16>, Rows<bf16>);
template void gather_rows(Context&, const std::int32_t*, Rows<const bf16>, Rows<bf16>);
template void unfold_patches(Context&, int, int, Rows<const bf16>, Rows<bf16>);
template void add_positions(Context&, int, Rows<const bf16>, const float*, const float*, Rows<bf16>);
template void pixel_shuffle(Context&, int, int, ShuffleOrder, Rows<const bf16>, Rows<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
