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
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

namespace detail {

inline ScalarKind placeable(const TensorView& view) {
  const auto kind = scalar_kind(view.dtype);
  if (!kind) fail<FileError>("cannot place a tensor of type ", name_of(view.dtype), ": expected F32, BF16 or F16");
  return *kind;
}

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

/// What the parts of one matrix make, without its memory.
inline PlacedMatrix outline(std::span<const TensorView> parts, Fusion fusion) {
  assert(!parts.empty());
  PlacedMatrix w;
  w.format = format_of(placeable(parts[0]));
  w.fusion = fusion;
  w.in = parts[0].shape[1];
  for (const TensorView& part : parts) {
    if (part.dtype != parts[0].dtype) {
      fail<FileError>("parts of one matrix differ in type: expected ", name_of(parts[0].dtype), ", found ",
                      name_of(part.dtype));
    }
    assert(part.shape.rank() == 2 && part.shape[1] == w.in);
    w.out += part.shape[0];
  }
  assert(fusion == Fusion::stacked || (parts.size() == 2 && parts[0].shape[0] == parts[1].shape[0]));
  return w;
}

}  // namespace detail

/// Reads the parts once, with all threads. Memory beside the parts: the panels.
inline PlacedMatrix place_matrix(Context& ctx, std::span<const TensorView> parts, Fusion fusion) {
  PlacedMatrix w = detail::outline(parts, fusion);
  const std::int64_t panels = panels_of(w.out, fusion), stride = panel_bytes(w.format, w.in);
  w.memory = allocate(ctx, std::size_t(panels * stride));
  ctx.pool.run(panels, [&](std::int64_t panel) {
    detail::pack_panel(parts, fusion, w.in, panel, w.memory.data + panel * stride);
  });
  return w;
}

inline PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts) {
  PlacedVector vector;
  for (const TensorView& part : parts) {
    detail::placeable(part);
    vector.width += *elements_of(part.shape);
  }
  vector.memory = allocate(ctx, std::size_t(vector.width) * sizeof(float));
  float* to = reinterpret_cast<float*>(vector.memory.data);
  const auto append = [&to]<class Scalar>(const TensorView& part, Scalar) {
    const std::byte* from = part.bytes.data();
    for (std::int64_t i = *elements_of(part.shape); i > 0; --i, from += sizeof(Scalar)) {
      Scalar scalar;
      std::memcpy(&scalar, from, sizeof scalar);
      *to++ = to_float(scalar);
    }
  };
  for (const TensorView& part : parts) {
    switch (detail::placeable(part)) {
      case ScalarKind::f32:
        append(part, float{});
        break;
      case ScalarKind::bf16:
        append(part, bf16{});
        break;
      case ScalarKind::f16:
        append(part, half{});
        break;
    }
  }
  return vector;
}

inline PlacedTable place_table(Context& ctx, const TensorView& view) {
  assert(view.shape.rank() == 2);
  PlacedTable table{detail::placeable(view), view.shape[0], view.shape[1], allocate(ctx, view.bytes.size())};
  upload(ctx, table.memory.data, view.bytes.data(), view.bytes.size());
  return table;
}

static_assert(PlaceOps<Context>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
