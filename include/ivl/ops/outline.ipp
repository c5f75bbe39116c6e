// The bodies of outline.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl {

IVL_INLINE void check_numbers(const SourceMatrix& part) {
  with_format(part.format, [&](auto tag) {
    using F = decltype(tag);
    if constexpr (requires { F::refused; }) {
      constexpr std::size_t plane = F::refused.plane;
      static_assert(F::planes[plane].outs == 1 && F::planes[plane].bytes == 1 && !F::inputs_first);
      const std::int64_t cells = part.in / F::planes[plane].ins;
      for (std::int64_t row = 0; row < part.out; ++row) {
        const std::byte* from = part.cells<F>(row, 0).at[plane];
        if (std::find(from, from + cells, F::refused.value) != from + cells) fail<FileError>(F::refused.reason);
      }
    }
  });
}

IVL_INLINE MatrixOutline outline_matrix(std::span<const SourceMatrix> parts, Fusion fusion, PlacedAs placed_as) {
  assert(!parts.empty() && parts.size() <= PlacedMatrix::most_strips);
  assert(fusion == Fusion::stacked || (parts.size() == 2 && parts[0].out == parts[1].out));
  MatrixOutline outline;
  PlacedMatrix& w = outline.placed;
  w.fusion = fusion;
  w.in = parts[0].in;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    assert(parts[i].in == w.in);
    check_numbers(parts[i]);
    const Format format = placed_as(parts[i].format);
    if (i == 0 || format != w.strips[std::size_t(w.strip_count - 1)].format) {
      w.strips[std::size_t(w.strip_count)] = {format, w.out, 0, 0, {}};
      outline.parts[std::size_t(w.strip_count)] = {int(i), 0};
      ++w.strip_count;
    }
    w.strips[std::size_t(w.strip_count - 1)].out += parts[i].out;
    ++outline.parts[std::size_t(w.strip_count - 1)].count;
    w.out += parts[i].out;
  }
  return outline;
}

IVL_INLINE MatrixOutline outline_experts(int experts, Fusion fusion, std::span<const SourceMatrix> parts,
                                         PlacedAs placed_as) {
  assert(experts > 0 && parts.size() % std::size_t(experts) == 0);
  const std::size_t of_each = parts.size() / std::size_t(experts);
  for (std::size_t i = of_each; i < parts.size(); ++i) {
    const SourceMatrix& first = parts[i % of_each];
    if (placed_as(parts[i].format) != placed_as(first.format)) {
      fail<FileError>("the experts of one layer differ in format: expected ", name_of(first.format), ", found ",
                      name_of(parts[i].format));
    }
    assert(parts[i].out == first.out && parts[i].in == first.in);
    check_numbers(parts[i]);
  }
  return outline_matrix(parts.first(of_each), fusion, placed_as);
}

IVL_INLINE std::int64_t vector_width(std::span<const TensorView> parts) {
  std::int64_t width = 0;
  for (const TensorView& part : parts) {
    placeable(part);
    width += *elements_of(part.shape);
  }
  return width;
}

IVL_INLINE void join_as_floats(std::span<const TensorView> parts, float* to) {
  const auto append = [&to]<class Scalar>(const TensorView& part, Scalar scalar) {
    const std::byte* from = part.bytes.data();
    for (std::int64_t i = *elements_of(part.shape); i > 0; --i, from += sizeof scalar) {
      std::memcpy(&scalar, from, sizeof scalar);
      *to++ = to_float(scalar);
    }
  };
  for (const TensorView& part : parts) {
    switch (placeable(part)) {
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
}

}  // namespace ivl
