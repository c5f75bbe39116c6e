// The bodies of source_matrix.hpp.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>

#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/ggml.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl {

IVL_INLINE SourceMatrix SourceMatrix::outputs(std::int64_t first, std::int64_t number) const {
  assert(first >= 0 && number >= 0 && first + number <= out);
  SourceMatrix part = *this;
  part.out = number;
  part.skip(&Cell::outs, first, &SourcePlane::to_next_output);
  return part;
}

IVL_INLINE SourceMatrix SourceMatrix::inputs(std::int64_t first, std::int64_t number) const {
  assert(first >= 0 && number >= 0 && first + number <= in);
  SourceMatrix part = *this;
  part.in = number;
  part.skip(&Cell::ins, first, &SourcePlane::to_next_input);
  return part;
}

IVL_INLINE SourceMatrix SourceMatrix::every_other(int first) const {
  SourceMatrix part = outputs(first, out - first);
  part.out = (part.out + 1) / 2;
  with_format(format, [](auto tag) {  // no cell holds several outputs
    using F = decltype(tag);
    for (std::size_t p = 0; p < std::size(F::planes); ++p) assert(F::planes[p].outs == 1);
  });
  for (SourcePlane& plane : part.planes) plane.to_next_output *= 2;
  return part;
}

IVL_INLINE void SourceMatrix::skip(int Cell::*size, std::int64_t elements, std::int64_t SourcePlane::*stride) {
  with_format(format, [&](auto tag) {
    using F = decltype(tag);
    for (std::size_t p = 0; p < std::size(F::planes); ++p) {
      assert(elements % F::planes[p].*size == 0 || F::planes[p].*size == whole_line);
      planes[p].data += elements / F::planes[p].*size * planes[p].*stride;
    }
  });
}

namespace detail {
/// The strides of a plane without gaps.
constexpr SourcePlane plane_at(const std::byte* data, const Cell& cell, std::int64_t out, std::int64_t in,
                               bool inputs_first) {
  if (inputs_first) return {data, cell.bytes, cells_of(out, cell.outs) * cell.bytes};
  return {data, cells_of(in, cell.ins) * cell.bytes, cell.bytes};
}
}  // namespace detail

IVL_INLINE SourceMatrix source_matrix(Format format, std::int64_t out, std::int64_t in,
                                      std::initializer_list<std::span<const std::byte>> planes, SourceOrder order) {
  SourceMatrix source{format, out, in, {}};
  with_format(format, [&](auto tag) {
    using F = decltype(tag);
    assert(planes.size() == std::size(F::planes));
    assert(order == SourceOrder::natural || F::block == 1);
    const bool inputs_first = F::inputs_first || order == SourceOrder::transposed;
    if (in % F::block != 0) {
      fail<FileError>("a matrix in ", F::name, ": expected rows of whole blocks of ", F::block, ", found ", in,
                      " columns");
    }
    for (std::size_t p = 0; p < planes.size(); ++p) {
      const Cell& cell = F::planes[p];
      const std::span<const std::byte> bytes = planes.begin()[p];
      if (out % cell.outs != 0 && !cell.loose) {
        fail<FileError>("a matrix in ", F::name, ": expected a multiple of ", cell.outs, " rows, found ", out);
      }
      if (cell.loose && std::int64_t(bytes.size()) == cell.bytes) {
        source.planes[p] = {bytes.data(), 0, 0};
        continue;
      }
      const std::int64_t outs = cells_of(out, cell.outs), ins = cells_of(in, cell.ins);
      if (std::int64_t(bytes.size()) != outs * ins * cell.bytes) {
        fail<FileError>("a matrix [", out, ", ", in, "] in ", F::name, ": expected ", outs * ins * cell.bytes,
                        " bytes of ", cell.name, ", found ", bytes.size());
      }
      source.planes[p] = detail::plane_at(bytes.data(), cell, out, in, inputs_first);
    }
  });
  return source;
}

IVL_INLINE ScalarKind placeable(const TensorView& view) {
  const auto kind = scalar_kind(view.dtype);
  if (!kind) fail<FileError>("cannot place a tensor of type ", type_name(view), ": expected F32, BF16 or F16");
  return *kind;
}

IVL_INLINE Format format_of(const TensorView& view) {
  return view.dtype == Dtype::blocks ? format_of(view.block_type) : format_of(placeable(view));
}

IVL_INLINE SourceMatrix source_matrix(const TensorView& view, SourceOrder order) {
  assert(view.shape.rank() == 2);
  const bool transposed = order == SourceOrder::transposed;
  return source_matrix(format_of(view), view.shape[transposed ? 1 : 0], view.shape[transposed ? 0 : 1], {view.bytes},
                       order);
}

IVL_INLINE void dequantise_row(const SourceMatrix& source, std::int64_t row, float* to) {
  assert(row >= 0 && row < source.out);
  with_format(source.format, [&](auto tag) {
    using F = decltype(tag);
    for (std::int64_t k = 0; k < source.in; k += F::block) F::dequantise(source.cells<F>(row, k), to + k);
  });
}

IVL_INLINE SourceMatrix packed_source(Format format, std::int64_t out, std::int64_t in, const std::byte* data) {
  const PackedPlanes packed = packed_planes(format, out, in);
  SourceMatrix source{format, out, in, {}};
  with_format(format, [&](auto tag) {
    using F = decltype(tag);
    for (std::size_t p = 0; p < std::size(F::planes); ++p)
      source.planes[p] = detail::plane_at(data + packed.begin[p], F::planes[p], out, in, F::inputs_first);
  });
  return source;
}

}  // namespace ivl
