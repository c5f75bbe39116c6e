// Placing on the CPU: matrices into panels (see panels.hpp), vectors as floats, tables as they are.
//
// A matrix keeps its file's scalar, so its values are the file's, bit for bit. `Fusion::interleaved` lies panel by
// panel, sixteen columns of gate and then the sixteen columns of up that go with them: a tile of two panels holds both.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

namespace detail {

/// Sixteen rows of a file, `depth` scalars each and at any address (null: a column of zeros), become one panel.
/// `Word` is what lies together of one column: a scalar, or a pair of them.
template <class Word, class Scalar>
void pack_rows(const std::byte* const (&rows)[panel_columns], std::int64_t depth, Word* panel) {
  constexpr std::int64_t together = sizeof(Word) / sizeof(Scalar);
  const std::int64_t words = depth / together;
  // A block of k at a time: its lines of the panel stay in the first cache while the sixteen rows write their columns.
  constexpr std::int64_t block = 64;
  for (std::int64_t first = 0; first < words; first += block) {
    const std::int64_t last = std::min(words, first + block);
    for (int c = 0; c < panel_columns; ++c) {
      for (std::int64_t k = first; k < last; ++k) {
        Word word{};
        if (rows[c]) std::memcpy(&word, rows[c] + k * std::int64_t(sizeof(Word)), sizeof word);
        panel[k * panel_columns + c] = word;
      }
    }
  }
  if (words * together < depth) {
    for (int c = 0; c < panel_columns; ++c) {
      Word word{};
      if (rows[c]) std::memcpy(&word, rows[c] + words * std::int64_t(sizeof(Word)), sizeof(Scalar));
      panel[words * panel_columns + c] = word;
    }
  }
}

/// Panel `panel` of the matrix [.., in] that the parts make together.
inline void pack_panel(std::span<const TensorView> parts, Fusion fusion, std::int64_t in, std::int64_t panel,
                       std::byte* to) {
  const ScalarKind kind = placeable(parts[0]);
  const std::int64_t row_bytes = in * bytes_of(kind);
  const bool interleaved = fusion == Fusion::interleaved;
  // Column c, as a row of the file; null behind the last.
  const auto source = [&](int c) -> const std::byte* {
    std::int64_t row = (interleaved ? panel / 2 : panel) * panel_columns + c;
    if (interleaved)
      return row < parts[0].shape[0] ? parts[std::size_t(panel % 2)].bytes.data() + row * row_bytes : nullptr;
    for (const TensorView& part : parts) {
      if (row < part.shape[0]) return part.bytes.data() + row * row_bytes;
      row -= part.shape[0];
    }
    return nullptr;
  };
  const std::byte* rows[panel_columns];
  for (int c = 0; c < panel_columns; ++c) rows[c] = source(c);
  switch (kind) {
    case ScalarKind::bf16:
      return pack_rows<std::uint32_t, bf16>(rows, in, reinterpret_cast<std::uint32_t*>(to));
    case ScalarKind::f16:
      return pack_rows<std::uint16_t, half>(rows, in, reinterpret_cast<std::uint16_t*>(to));
    case ScalarKind::f32:
      return pack_rows<std::uint32_t, float>(rows, in, reinterpret_cast<std::uint32_t*>(to));
  }
}

}  // namespace detail

/// Reads the parts once, with all threads. Memory beside the parts: the panels.
inline PlacedMatrix place_matrix(Context& ctx, std::span<const TensorView> parts, Fusion fusion) {
  PlacedMatrix w = outline_matrix(parts, fusion);
  const std::int64_t panels = panels_of(w.out, fusion), stride = panel_bytes(w.format, w.in);
  w.memory = allocate(ctx, std::size_t(panels * stride));
  ctx.pool.run(panels, [&](std::int64_t panel) {
    detail::pack_panel(parts, fusion, w.in, panel, w.memory.data + panel * stride);
  });
  return w;
}

inline PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts) {
  PlacedVector vector{vector_width(parts), {}};
  vector.memory = allocate(ctx, std::size_t(vector.width) * sizeof(float));
  join_as_floats(parts, reinterpret_cast<float*>(vector.memory.data));
  return vector;
}

inline PlacedTable place_table(Context& ctx, const TensorView& view) {
  assert(view.shape.rank() == 2);
  PlacedTable table{placeable(view), view.shape[0], view.shape[1], allocate(ctx, view.bytes.size())};
  upload(ctx, table.memory.data, view.bytes.data(), view.bytes.size());
  return table;
}

static_assert(PlaceOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
