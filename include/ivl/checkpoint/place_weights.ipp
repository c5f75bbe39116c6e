// The bodies of place_weights.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/packed_int4.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::detail {

/// A matrix with planes of scales, whatever their scalar. `zeros`: of the forms that have zero points.
inline SourceMatrix scaled_matrix(const BoundPiece& piece, std::int64_t in, std::span<const std::byte> codes,
                                  std::span<const std::byte> scales, std::span<const std::byte> zeros) {
  const ScalarKind kind = placeable(*piece.planes[1].found);
  const auto of_two = [&](Format with_f32) {
    return source_matrix(with_scales(with_f32, kind), piece.height, in, {codes, scales});
  };
  const auto of_three = [&](Format with_f32) {
    return source_matrix(with_scales(with_f32, kind), piece.height, in, {codes, scales, zeros});
  };
  switch (piece.form.as) {
    case StoredAs::awq:
      return of_three(Format::awq_f32);
    case StoredAs::f8_blocks:
      return of_two(Format::f8_blocks);
    case StoredAs::scaled:
      if (piece.planes[0].kind == TensorKind::f8) return of_two(Format::f8_blocks);
      return of_two(piece.planes[0].found->dtype == Dtype::i8 ? Format::i8_rows : Format::f8_rows);
    case StoredAs::int4:
    case StoredAs::int4_zeros:
      return of_three(int4_group(in, piece.planes[1].found) == 32 ? Format::int4_by_32 : Format::int4_by_128);
    case StoredAs::llm_int8:
    case StoredAs::llm_int8_rows:
      return of_two(Format::llm_int8);
    default:
      break;
  }
  fail<FileError>("no matrix with scales");
}

/// What one piece holds of one expert, whatever the tensors' shapes; `experts`: those that share the piece's tensors.
inline SourceMatrix matrix_of(const BoundPiece& piece, std::int64_t in, int expert, int experts) {
  const auto plane = [&](std::size_t number) {
    const std::span<const std::byte> all = piece.planes[number].found->bytes;
    const std::size_t bytes = all.size() / std::size_t(experts);
    return all.subspan(std::size_t(expert) * bytes, bytes);
  };
  switch (piece.form.as) {
    case StoredAs::scalars: {
      TensorView view = *piece.planes[0].found;
      view.bytes = plane(0);
      view.shape = piece.transposed() ? Shape{in, piece.height} : Shape{piece.height, in};
      return source_matrix(view, piece.transposed() ? SourceOrder::transposed : SourceOrder::natural);
    }
    case StoredAs::mxfp4:
      return source_matrix(Format::mxfp4, piece.height, in, {plane(0), plane(1)});
    default:
      return scaled_matrix(piece, in, plane(0), plane(1), piece.planes.size() > 2 ? plane(2) : int4_middle);
  }
}

/// Of one piece: the plane that holds what is not a number, or the first where the planes make no matrix.
inline const BoundTensor* fault_in(const BoundPiece& piece, std::int64_t in, int experts) {
  try {
    for (int expert = 0; expert < experts; ++expert) {
      if (const auto found = find_not_a_number(matrix_of(piece, in, expert, experts)))
        return &piece.planes[found->plane];
    }
  } catch (const FileError&) {
    return &piece.planes[0];
  }
  return nullptr;
}

IVL_INLINE std::string fault_of(const BoundWeight& weight) {
  for (const BoundPiece& piece : weight.pieces) {
    if (piece.form.as == StoredAs::scalars) continue;
    const int sharing = weight.slot.experts > 0 && piece.expert < 0 ? weight.slot.experts : 1;
    if (const BoundTensor* fault = fault_in(piece, weight.slot.in, sharing)) return fault->name;
  }
  return weight.pieces[0].planes[0].name;
}

IVL_INLINE std::vector<SourceMatrix> matrices_of(const BoundWeight& weight) {
  const WeightSlot& slot = weight.slot;
  std::vector<SourceMatrix> matrices;
  const int sharing = slot.experts > 0 && weight.pieces[0].expert < 0 ? slot.experts : 1;
  for (int expert = 0; expert < sharing; ++expert) {
    for (const BoundPiece& piece : weight.pieces) {
      const SourceMatrix matrix = matrix_of(piece, slot.in, expert, sharing);
      if (piece.row->transform == Transform::transposed_interleaved) {
        matrices.push_back(matrix.every_other(0));
        matrices.push_back(matrix.every_other(1));
      } else {
        matrices.push_back(matrix);
      }
    }
  }
  return matrices;
}

// ---- a rank's part of a weight: views of the whole, nothing is copied ----------------------------------------------
/// `number` outputs or inputs from `first` on begin and end where the format's cells do.
inline void check_cells(Format format, const char* what, int Cell::*size, const RankPart& part) {
  with_format(format, [&](auto tag) {
    for (const Cell& cell : decltype(tag)::planes) {
      if (cell.*size == whole_line) continue;
      if (part.first % (cell.*size) != 0 || (part.count % (cell.*size) != 0 && !cell.loose))
        fail<FileError>("a rank's part in ", decltype(tag)::name, ": expected ", what, " in whole blocks of ",
                        cell.*size, ", found ", part.count, " from ", part.first, " on");
    }
  });
}

/// A rank's rows of each part (q, k, v; gate, up) that a piece of `height` rows holds.
inline std::vector<RankPart> rank_rows(const BoundWeight& weight, std::int64_t height, int rank) {
  const WeightSlot& slot = weight.slot;
  if (slot.heights[0] == dynamic) return {vocabulary_part(height, rank, slot.ranks)};
  if (slot.heights.size() == weight.pieces.size()) return {equal_part(height, rank, slot.ranks)};
  std::vector<RankPart> rows;
  std::int64_t first = 0;
  for (const int part : slot.heights) {
    rows.push_back(equal_part(part, rank, slot.ranks));
    rows.back().first += first;
    first += part;
  }
  return rows;
}

inline ShardAxis axis_of(const BoundWeight& weight) {
  return weight.slot.ranks == 1 ? ShardAxis::none : weight.name.part->shard;
}

IVL_INLINE std::vector<SourceMatrix> rank_matrices(const BoundWeight& weight, const std::vector<SourceMatrix>& whole,
                                                   int rank) {
  std::vector<SourceMatrix> matrices;
  switch (axis_of(weight)) {
    case ShardAxis::none:
      return whole;
    case ShardAxis::column:
      for (const SourceMatrix& matrix : whole) {
        for (const RankPart& rows : rank_rows(weight, matrix.out, rank)) {
          check_cells(matrix.format, "rows", &Cell::outs, rows);
          matrices.push_back(matrix.outputs(rows.first, rows.count));
        }
      }
      return matrices;
    case ShardAxis::row:
      for (const SourceMatrix& matrix : whole) {
        const RankPart columns = equal_part(matrix.in, rank, weight.slot.ranks);
        check_cells(matrix.format, "columns", &Cell::ins, columns);
        matrices.push_back(matrix.inputs(columns.first, columns.count));
      }
      return matrices;
    case ShardAxis::expert: {
      const RankPart experts = equal_part(std::int64_t(whole.size()), rank, weight.slot.ranks);
      return {whole.begin() + experts.first, whole.begin() + experts.first + experts.count};
    }
  }
  return matrices;
}

IVL_INLINE std::vector<TensorView> rank_views(const BoundWeight& weight, const TensorView& view, int rank) {
  const std::int64_t width = *elements_of(view.shape);
  std::vector<RankPart> parts{{0, width}};
  if (axis_of(weight) == ShardAxis::column) parts = rank_rows(weight, width, rank);
  if (axis_of(weight) == ShardAxis::expert) parts = {equal_part(width, rank, weight.slot.ranks)};
  const std::size_t bytes = std::size_t(bits_of(view.dtype) / 8);
  std::vector<TensorView> views;
  for (const RankPart& part : parts)
    views.push_back({view.dtype,
                     {part.count},
                     view.bytes.subspan(std::size_t(part.first) * bytes, std::size_t(part.count) * bytes)});
  return views;
}

}  // namespace ivl::detail
