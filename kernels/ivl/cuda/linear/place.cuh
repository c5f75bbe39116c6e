// Placing on CUDA: matrices row-major in their file's scalar, vectors as floats, tables as they are. Other formats than
// f32, bf16 and f16 are refused, as are matrices whose parts differ in format.
//
// `Fusion::interleaved` lies as rows gate, up, gate, up, ...: the two columns that SwiGLU joins are neighbours in any
// tile of a product. Rows start where the one before ends; widths of models are multiples of 16 scalars, so every row
// is 16-byte aligned.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cuda {

namespace detail::place {

/// Uploads `rows` rows of `row_bytes`, row r from row_of(r), whole rows a slot of pinned memory.
template <class RowOf>
void upload_rows(Context& ctx, std::byte* to, std::int64_t rows, std::size_t row_bytes, const RowOf& row_of) {
  const auto rows_a_slot = std::int64_t(runtime::Staging::slot_bytes / row_bytes);
  for (std::int64_t first = 0; first < rows; first += rows_a_slot) {
    const std::int64_t number = std::min(rows_a_slot, rows - first);
    std::byte* slot = ctx.staging().wait_for_slot();
    for (std::int64_t r = 0; r < number; ++r)
      std::memcpy(slot + std::size_t(r) * row_bytes, row_of(first + r), row_bytes);
    ctx.staging().send(to + std::size_t(first) * row_bytes, std::size_t(number) * row_bytes, ctx.stream);
  }
}

/// Bytes of a scalar of the format; 0 for formats that are no scalars.
constexpr int scalar_bytes(Format format) {
  return with_format(format, [](auto tag) {
    using F = decltype(tag);
    return F::block == 1 ? F::planes[0].bytes : 0;
  });
}

/// Rows [first, first + number) of a matrix that a file may hold as [in, out], by all host threads.
template <class Word, class RowOf>
void transpose_rows(Context& ctx, std::int64_t in, std::int64_t to_next_input, std::int64_t first, std::int64_t number,
                    const RowOf& row_of, std::byte* to) {
  constexpr std::int64_t block = 32;  // a line of the file at a time meets so many rows of the slot
  ctx.host_pool().run(ceil_div(number, block), [&](std::int64_t task) {
    const std::int64_t begin = task * block, end = std::min(number, begin + block);
    const std::byte* rows[block];
    for (std::int64_t r = begin; r < end; ++r) rows[r - begin] = row_of(first + r);
    for (std::int64_t k = 0; k < in; ++k) {
      for (std::int64_t r = begin; r < end; ++r)
        std::memcpy(to + (r * in + k) * std::int64_t(sizeof(Word)), rows[r - begin] + k * to_next_input, sizeof(Word));
    }
  });
}

/// Parts of scalars become one matrix at `to`: stacked, or gate and up in turns.
inline void place_scalars(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion, std::byte* to) {
  const std::int64_t in = parts[0].in, bytes = scalar_bytes(parts[0].format), row_bytes = in * bytes;
  if (row_bytes == 0) return;
  const auto place_rows = [&](std::int64_t rows, const SourcePlane& plane, const auto& row_of) {
    assert(std::size_t(row_bytes) <= runtime::Staging::slot_bytes);
    if (plane.to_next_input == bytes) return upload_rows(ctx, to, rows, std::size_t(row_bytes), row_of);
    const std::int64_t rows_a_slot = std::int64_t(runtime::Staging::slot_bytes) / row_bytes;
    for (std::int64_t first = 0; first < rows; first += rows_a_slot) {
      const std::int64_t number = std::min(rows_a_slot, rows - first);
      std::byte* slot = ctx.staging().wait_for_slot();
      if (bytes == 2) {
        transpose_rows<std::uint16_t>(ctx, in, plane.to_next_input, first, number, row_of, slot);
      } else {
        transpose_rows<std::uint32_t>(ctx, in, plane.to_next_input, first, number, row_of, slot);
      }
      ctx.staging().send(to + first * row_bytes, std::size_t(number * row_bytes), ctx.stream);
    }
  };
  if (fusion == Fusion::interleaved) {
    assert(parts[0].planes[0].to_next_input == parts[1].planes[0].to_next_input);
    place_rows(2 * parts[0].out, parts[0].planes[0], [&](std::int64_t row) {
      const SourcePlane& plane = parts[std::size_t(row % 2)].planes[0];
      return plane.data + row / 2 * plane.to_next_output;
    });
    return;
  }
  for (const SourceMatrix& part : parts) {
    const SourcePlane& plane = part.planes[0];
    if (plane.to_next_input == bytes && plane.to_next_output == row_bytes) {
      upload(ctx, to, plane.data, std::size_t(part.out * row_bytes));
    } else {
      place_rows(part.out, plane, [&](std::int64_t row) { return plane.data + row * plane.to_next_output; });
    }
    to += part.out * row_bytes;
  }
}

}  // namespace detail::place

/// Reads the parts once. Host memory beside the parts: what is pinned for staging.
inline PlacedMatrix place_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion) {
  const MatrixOutline outline = outline_matrix(parts, fusion);
  PlacedMatrix w = outline.placed;
  const int scalar_bytes = w.uniform() ? detail::place::scalar_bytes(w.format()) : 0;
  if (scalar_bytes == 0)
    fail<FileError>("on CUDA: expected a matrix in one format, f32, bf16 or f16, found ", formats_of(w));
  Strip& strip = w.strips[0];
  strip.bytes = w.out * w.in * scalar_bytes;
  strip.memory = allocate(ctx, std::size_t(strip.bytes));
  detail::place::place_scalars(ctx, parts, fusion, strip.memory.data);
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
  const int scalar_bytes = detail::place::scalar_bytes(rows.format);
  if (scalar_bytes == 0) fail<FileError>("on CUDA: expected a table in f32, bf16 or f16, found ", name_of(rows.format));
  PlacedTable table{rows.format, rows.out, rows.in, allocate(ctx, std::size_t(rows.out * rows.in * scalar_bytes))};
  each_packed_piece(rows, [&](std::int64_t to, const std::byte* from, std::int64_t number) {
    upload(ctx, table.memory.data + to, from, std::size_t(number));
  });
  return table;
}

static_assert(PlaceOps<Context>);

}  // namespace ivl::cuda
