// Placing on CUDA: matrices row-major in their file's scalar, vectors as floats, tables as they are.
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

#include "ivl/core/tensor.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cuda {

namespace detail {

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

}  // namespace detail

/// Reads the parts once. Host memory beside the parts: what is pinned for staging.
inline PlacedMatrix place_matrix(Context& ctx, std::span<const TensorView> parts, Fusion fusion) {
  PlacedMatrix w = outline_matrix(parts, fusion);
  const std::size_t row_bytes = std::size_t(w.in) * std::size_t(bytes_of(placeable(parts[0])));
  w.memory = allocate(ctx, std::size_t(w.out) * row_bytes);
  if (fusion == Fusion::stacked) {
    std::byte* to = w.memory.data;
    for (const TensorView& part : parts) {
      upload(ctx, to, part.bytes.data(), part.bytes.size());
      to += part.bytes.size();
    }
  } else {
    assert(row_bytes <= detail::runtime::Staging::slot_bytes);
    detail::upload_rows(ctx, w.memory.data, w.out, row_bytes, [&](std::int64_t row) {
      return parts[std::size_t(row % 2)].bytes.data() + std::size_t(row / 2) * row_bytes;
    });
  }
  return w;
}

inline PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts) {
  std::vector<float> values(std::size_t(vector_width(parts)));
  join_as_floats(parts, values.data());
  PlacedVector vector{std::int64_t(values.size()), allocate(ctx, values.size() * sizeof(float))};
  upload(ctx, vector.memory.data, values.data(), values.size() * sizeof(float));
  return vector;
}

inline PlacedTable place_table(Context& ctx, const TensorView& view) {
  assert(view.shape.rank() == 2);
  PlacedTable table{placeable(view), view.shape[0], view.shape[1], allocate(ctx, view.bytes.size())};
  upload(ctx, table.memory.data, view.bytes.data(), view.bytes.size());
  return table;
}

static_assert(PlaceOps<Context>);

}  // namespace ivl::cuda
