// A matrix as a reader finds it in a file: views of its planes, whatever the strides. Nothing here copies.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/format.hpp"

namespace ivl {

/// Cells of one plane. The bytes may start at *any* address: copy, do not cast.
struct SourcePlane {
  const std::byte* data = nullptr;
  std::int64_t to_next_output = 0, to_next_input = 0;  ///< bytes from a cell to its neighbours
};

/// A matrix [out, in] in memory that someone else owns.
struct SourceMatrix {
  Format format = Format::f32;
  std::int64_t out = 0, in = 0;
  std::array<SourcePlane, most_planes> planes{};

  /// Outputs [first, first + number): a shard, or one of several matrices that a file holds joined.
  SourceMatrix outputs(std::int64_t first, std::int64_t number) const;
  /// Inputs [first, first + number), whole blocks.
  SourceMatrix inputs(std::int64_t first, std::int64_t number) const;
  /// Outputs first, first + 2, ...: gate or up of a file in which they take turns.
  SourceMatrix every_other(int first) const;

  /// Where the cells of one row begin, from the block at `input` on.
  template <class F>
  BlockCells cells(std::int64_t output, std::int64_t input) const {
    BlockCells cells;
    for (std::size_t p = 0; p < std::size(F::planes); ++p) {
      const Cell& cell = F::planes[p];
      cells.at[p] =
          planes[p].data + output / cell.outs * planes[p].to_next_output + input / cell.ins * planes[p].to_next_input;
      cells.to_next_input[p] = planes[p].to_next_input;
      if (cell.outs > 1) cells.output = int(output % cell.outs);
    }
    return cells;
  }

 private:
  void skip(int Cell::*size, std::int64_t elements, std::int64_t SourcePlane::*stride);
};

/// Cells of `size` elements that `elements` of them fill, the last perhaps not whole.
constexpr std::int64_t cells_of(std::int64_t elements, int size) { return (elements + size - 1) / size; }

/// How a file orders the cells of a plane. Planes of AWQ are always [in, out].
enum class SourceOrder : std::uint8_t {
  natural,     ///< as the format has it
  transposed,  ///< scalars as [in, out], as GPT-OSS stores its experts in bf16
};

/// The planes of one matrix, each without gaps; a loose one may be one cell, which stands for all. Throws FileError for
/// sizes that do not go together.
SourceMatrix source_matrix(Format format, std::int64_t out, std::int64_t in,
                           std::initializer_list<std::span<const std::byte>> planes,
                           SourceOrder order = SourceOrder::natural);

/// The scalar of a tensor that is no quantised format. Throws FileError.
ScalarKind placeable(const TensorView& view);

/// The format of a matrix that is one tensor: scalars, or blocks of ggml. Throws FileError for other types.
Format format_of(const TensorView& view);

/// A tensor [out, in], or [in, out] where it is transposed, which scalars alone may be. Throws FileError for types that
/// have no format.
SourceMatrix source_matrix(const TensorView& view, SourceOrder order = SourceOrder::natural);

/// Row `row` as floats, exactly: to [in].
void dequantise_row(const SourceMatrix& source, std::int64_t row, float* to);

/// Bytes of each plane of a matrix whose planes lie one after the other, each on a new line of 64; and of them all.
struct PackedPlanes {
  std::array<std::int64_t, most_planes> begin{}, bytes{};
  std::int64_t total = 0;
};
constexpr PackedPlanes packed_planes(Format format, std::int64_t out, std::int64_t in) {
  PackedPlanes packed;
  with_format(format, [&](auto tag) {
    using F = decltype(tag);
    for (std::size_t p = 0; p < std::size(F::planes); ++p) {
      const Cell& cell = F::planes[p];
      packed.begin[p] = round_up(packed.total, 64);
      packed.bytes[p] = cells_of(out, cell.outs) * cells_of(in, cell.ins) * cell.bytes;
      packed.total = packed.begin[p] + packed.bytes[p];
    }
  });
  return packed;
}

/// The matrix that lies so at `data`.
SourceMatrix packed_source(Format format, std::int64_t out, std::int64_t in, const std::byte* data);

/// Calls copy(to, from, bytes) for pieces that together make the planes of `source` lie as packed_planes says, `to`
/// counted from their begin: a plane at once where it has no gaps.
template <class Copy>
void each_packed_piece(const SourceMatrix& source, const Copy& copy) {
  const PackedPlanes packed = packed_planes(source.format, source.out, source.in);
  with_format(source.format, [&](auto tag) {
    using F = decltype(tag);
    for (std::size_t p = 0; p < std::size(F::planes); ++p) {
      const Cell& cell = F::planes[p];
      const SourcePlane& plane = source.planes[p];
      std::int64_t lines = cells_of(source.out, cell.outs), length = cells_of(source.in, cell.ins);
      std::int64_t to_next_line = plane.to_next_output, to_next_cell = plane.to_next_input;
      if (F::inputs_first) {
        std::swap(lines, length);
        std::swap(to_next_line, to_next_cell);
      }
      const bool whole_lines = to_next_cell == cell.bytes;
      if (whole_lines && to_next_line == length * cell.bytes) {
        copy(packed.begin[p], plane.data, packed.bytes[p]);
        continue;
      }
      if (lines * length == 0) continue;
      std::int64_t to = packed.begin[p];
      const std::int64_t pieces = whole_lines ? 1 : length, bytes = packed.bytes[p] / (lines * pieces);
      for (std::int64_t line = 0; line < lines; ++line) {
        for (std::int64_t piece = 0; piece < pieces; ++piece, to += bytes)
          copy(to, plane.data + line * to_next_line + piece * to_next_cell, bytes);
      }
    }
  });
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/source_matrix.ipp"
#endif
