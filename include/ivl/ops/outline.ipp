// The bodies of outline.hpp.
#pragma once
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl {

namespace detail {

template <class F>
std::optional<NotANumber> find_refused(const SourceMatrix& part, const Refused& refused) {
  const Cell& cell = F::planes[refused.plane];
  assert(cell.outs == 1 && cell.bytes == 1 && !F::inputs_first);
  for (std::int64_t row = 0; row < part.out; ++row) {
    const auto* from = reinterpret_cast<const char*>(part.cells<F>(row, 0).at[refused.plane]);
    if (std::memchr(from, std::to_integer<int>(refused.value), std::size_t(part.in / cell.ins)) != nullptr)
      return NotANumber{refused.plane, refused.reason};
  }
  return std::nullopt;
}

/// Scales that are NaN or infinite, or with which weights may be.
template <class F>
std::optional<NotANumber> find_infinite(const SourceMatrix& part) {
  const Cell& cell = F::planes[F::scale_plane];
  const SourcePlane& plane = part.planes[F::scale_plane];
  for (std::int64_t i = 0; i < cells_of(part.out, cell.outs); ++i) {
    for (std::int64_t j = 0; j < cells_of(part.in, cell.ins); ++j) {
      typename F::Scale scale;
      std::memcpy(&scale, plane.data + i * plane.to_next_output + j * plane.to_next_input, sizeof scale);
      if (!std::isfinite(to_float(scale))) return NotANumber{F::scale_plane, "a scale is not a finite number"};
      if (!std::isfinite(to_float(scale) * F::largest))
        return NotANumber{F::scale_plane, "a scale is so large that weights may be infinite"};
    }
  }
  return std::nullopt;
}

/// The same of blocks that hold their scales themselves.
template <class F>
std::optional<NotANumber> find_infinite_block(const SourceMatrix& part) {
  for (std::int64_t row = 0; row < part.out; ++row) {
    BlockCells cells = part.cells<F>(row, 0);
    for (std::int64_t k = 0; k < part.in; k += F::block, cells.at[0] += cells.to_next_input[0]) {
      if (!detail::has_finite_scales<F>(cells)) return NotANumber{0, "a scale is not a finite number"};
    }
  }
  return std::nullopt;
}

}  // namespace detail

IVL_INLINE std::optional<NotANumber> find_not_a_number(const SourceMatrix& part) {
  return with_format(part.format, [&](auto tag) -> std::optional<NotANumber> {
    using F = decltype(tag);
    if constexpr (requires { F::refused; }) {
      for (const Refused& refused : F::refused) {
        if (const auto found = detail::find_refused<F>(part, refused)) return found;
      }
    }
    if constexpr (requires { typename F::Scale; }) return detail::find_infinite<F>(part);
    if constexpr (requires { typename F::Block; }) return detail::find_infinite_block<F>(part);
    return std::nullopt;
  });
}

IVL_INLINE void check_numbers(const SourceMatrix& part) {
  if (const auto found = find_not_a_number(part)) fail<FileError>(found->reason);
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
