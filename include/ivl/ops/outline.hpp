// What tensors of a file will make once placed, without a backend's memory: the checks and sizes that backends share.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// The scalar of a tensor that a backend can place. Throws FileError.
inline ScalarKind placeable(const TensorView& view) {
  const auto kind = scalar_kind(view.dtype);
  if (!kind) fail<FileError>("cannot place a tensor of type ", name_of(view.dtype), ": expected F32, BF16 or F16");
  return *kind;
}

/// Parts [rows, in] of one matrix. Throws FileError for types that cannot be placed or differ.
inline PlacedMatrix outline_matrix(std::span<const TensorView> parts, Fusion fusion) {
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

/// Parts of one expert's matrix in ExpertLayout::separate.
constexpr std::size_t parts_of_expert(Fusion fusion) { return fusion == Fusion::interleaved ? 2 : 1; }

/// Parts as `layout` says. Throws FileError for types that no expert has, and for scales that are no numbers.
inline PlacedExperts outline_experts(ExpertLayout layout, int experts, Fusion fusion,
                                     std::span<const TensorView> parts) {
  assert(experts > 0 && !parts.empty());
  PlacedExperts placed;
  placed.experts = experts;
  PlacedMatrix& all = placed.all;
  const Shape& shape = parts[0].shape;
  switch (layout) {
    case ExpertLayout::separate:
      assert(parts.size() == std::size_t(experts) * parts_of_expert(fusion));
      all = outline_matrix(parts.first(parts_of_expert(fusion)), fusion);
      for (const TensorView& part : parts) {
        if (part.dtype != parts[0].dtype) {
          fail<FileError>("the experts of one layer differ in type: expected ", name_of(parts[0].dtype), ", found ",
                          name_of(part.dtype));
        }
        assert(part.shape == shape);
      }
      break;
    case ExpertLayout::fused:
      assert(parts.size() == 1 && shape.rank() == 3 && shape[0] == experts);
      all.format = format_of(placeable(parts[0]));
      all.in = shape[1];
      all.out = shape[2];
      break;
    case ExpertLayout::mxfp4:
      assert(parts.size() == 2 && shape.rank() == 4 && shape[0] == experts && shape[3] == mxfp4_block_bytes);
      assert((parts[1].shape == Shape{experts, shape[1], shape[2]}));
      for (const TensorView& part : parts) {
        if (part.dtype != Dtype::u8)
          fail<FileError>("blocks and scales of MXFP4 must be of type U8, found ", name_of(part.dtype));
      }
      if (std::ranges::find(parts[1].bytes, std::byte{255}) != parts[1].bytes.end())
        fail<FileError>("a scale of MXFP4 is 255, which is not a number");
      all.format = Format::mxfp4;
      all.out = shape[1];
      all.in = shape[2] * mxfp4_block;
      break;
  }
  all.fusion = fusion;
  return placed;
}

/// Scalars of all parts of a vector. Throws FileError for types that cannot be placed.
inline std::int64_t vector_width(std::span<const TensorView> parts) {
  std::int64_t width = 0;
  for (const TensorView& part : parts) {
    placeable(part);
    width += *elements_of(part.shape);
  }
  return width;
}

/// The parts as floats, one after the other: to [vector_width(parts)].
inline void join_as_floats(std::span<const TensorView> parts, float* to) {
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
