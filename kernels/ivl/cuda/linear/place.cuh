// Placing on CUDA: matrices and tables in the planes of their format (formats/stored.cuh), vectors as floats.
//
// `Fusion::interleaved` lies as rows gate, up, gate, up, ...: the two columns that SwiGLU joins are neighbours in any
// tile of a product. Where gate and up differ in format they become floats, exactly. Rows start where the one before
// ends; widths of models are multiples of 16 scalars, so every row of scalars is 16-byte aligned.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cuda/formats/formats.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::IVL_CUDA {

namespace detail::place {

/// Rows of one plane, `bytes` each, from fill(row, to), by all host threads.
template <class Fill>
void place_rows(Context& ctx, std::byte* to, std::int64_t rows, std::int64_t bytes, const Fill& fill) {
  if (rows * bytes == 0) return;
  constexpr auto slot_bytes = std::int64_t(runtime::Staging::slot_bytes);
  expect(bytes <= slot_bytes, "weights on CUDA: expected rows of at most ", slot_bytes, " bytes, found ", bytes);
  const std::int64_t rows_a_slot = slot_bytes / bytes, rows_a_task = ceil_div(std::int64_t(64) << 10, bytes);
  for (std::int64_t first = 0; first < rows; first += rows_a_slot) {
    const std::int64_t number = std::min(rows_a_slot, rows - first);
    std::byte* const slot = ctx.staging().wait_for_slot();
    ctx.host_pool().run(ceil_div(number, rows_a_task), [&](std::int64_t task) {
      const std::int64_t end = std::min(number, (task + 1) * rows_a_task);
      for (std::int64_t r = task * rows_a_task; r < end; ++r) fill(first + r, slot + r * bytes);
    });
    ctx.staging().send(to + first * bytes, std::size_t(number * bytes), ctx.stream);
  }
}

/// Calls visit(part, row of it) for row `row` of parts that are stacked, or gate and up in turns.
template <class Visit>
void with_row(std::span<const SourceMatrix> parts, Fusion fusion, std::int64_t row, const Visit& visit) {
  if (fusion == Fusion::interleaved && parts.size() == 2) return visit(parts[std::size_t(row % 2)], row / 2);
  std::size_t part = 0;
  while (row >= parts[part].out) row -= parts[part++].out;
  visit(parts[part], row);
}

/// Parts of one format become one matrix at `to`.
inline void place_parts(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion, std::byte* to) {
  std::int64_t out = 0;
  for (const SourceMatrix& part : parts) out += part.out;
  with_format(parts[0].format, [&](auto tag) {
    using S = Stored<decltype(tag)>;
    for (int plane = 0; plane < S::planes; ++plane) {
      const std::int64_t bytes = S::row_bytes(plane, parts[0].in);
      place_rows(ctx, to, out, bytes, [&](std::int64_t row, std::byte* row_to) {
        with_row(parts, fusion, row,
                 [&](const SourceMatrix& part, std::int64_t of_part) { S::fill_row(plane, part, of_part, row_to); });
      });
      to += out * bytes;
    }
    if constexpr (requires { S::tail(); }) {
      const auto tail = std::as_bytes(S::tail());
      place_rows(ctx, to, tail.empty() ? 0 : 1, std::int64_t(tail.size()),
                 [&](std::int64_t, std::byte* tail_to) { std::memcpy(tail_to, tail.data(), tail.size()); });
    }
  });
}

/// Parts of any formats become floats at `to`.
inline void place_as_floats(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion, std::byte* to) {
  std::int64_t out = 0;
  for (const SourceMatrix& part : parts) out += part.out;
  place_rows(ctx, to, out, parts[0].in * std::int64_t(sizeof(float)), [&](std::int64_t row, std::byte* row_to) {
    with_row(parts, fusion, row, [&](const SourceMatrix& part, std::int64_t of_part) {
      dequantise_row(part, of_part, reinterpret_cast<float*>(row_to));
    });
  });
}

/// What `outline` becomes on CUDA: gate and up are one strip, as floats where their formats differ. Without memory.
inline PlacedMatrix layout_of(const MatrixOutline& outline) {
  PlacedMatrix w = outline.placed;
  if (w.split()) {
    w.strip_count = 1;
    w.strips = {};
    w.strips[0] = {Format::f32, 0, w.out, 0, {}};
  }
  for (int i = 0; i < w.strip_count; ++i) {
    Strip& strip = w.strips[std::size_t(i)];
    strip.bytes = stored_bytes(strip.format, strip.out, w.in);
  }
  return w;
}

/// The parts of each strip to its memory, where they are matrix `number` of as many as there are experts.
inline void place_strips(Context& ctx, const MatrixOutline& outline, const PlacedMatrix& w,
                         std::span<const SourceMatrix> parts, int number) {
  for (int i = 0; i < w.strip_count; ++i) {
    const Strip& strip = w.strips[std::size_t(i)];
    std::byte* const to = strip.memory.data + number * strip.bytes;
    const auto [first, count] = outline.parts[std::size_t(i)];
    const auto of_strip = outline.placed.split() ? parts : parts.subspan(std::size_t(first), std::size_t(count));
    const bool as_stored =
        std::ranges::all_of(of_strip, [&](const SourceMatrix& part) { return part.format == strip.format; });
    as_stored ? place_parts(ctx, of_strip, w.fusion, to) : place_as_floats(ctx, of_strip, w.fusion, to);
  }
}

}  // namespace detail::place

/// Reads the parts once. Host memory beside the parts: what is pinned for staging.
inline PlacedMatrix place_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion) {
  const MatrixOutline outline = outline_matrix(parts, fusion, [](Format format) { return format; });
  PlacedMatrix w = detail::place::layout_of(outline);
  for (int i = 0; i < w.strip_count; ++i) {
    Strip& strip = w.strips[std::size_t(i)];
    strip.memory = allocate(ctx, std::size_t(strip.bytes));
  }
  detail::place::place_strips(ctx, outline, w, parts, 0);
  return w;
}

inline PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts) {
  std::vector<float> values(std::size_t(vector_width(parts)));
  join_as_floats(parts, values.data());
  PlacedVector vector{std::int64_t(values.size()), allocate(ctx, values.size() * sizeof(float))};
  upload(ctx, vector.memory.data, values.data(), values.size() * sizeof(float));
  return vector;
}

inline PlacedTable place_table(Context& ctx, const SourceMatrix& rows) {
  const std::int64_t bytes = detail::stored_bytes(rows.format, rows.out, rows.in);
  PlacedTable table{rows.format, rows.out, rows.in, allocate(ctx, std::size_t(bytes))};
  detail::place::place_parts(ctx, {&rows, 1}, Fusion::stacked, table.memory.data);
  return table;
}

static_assert(PlaceOps<Context>);

}  // namespace ivl::IVL_CUDA
