// What a checkpoint file holds: a named scalar type, a shape and bytes. A view only; nothing here owns or converts.
#pragma once
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ivl/core/ggml_type.hpp"
#include "ivl/core/scalar.hpp"

namespace ivl {

/// Scalar types of tensor files, by their safetensors names and in the order of its reference writer: by alignment.
/// The last one is not a scalar: blocks of one of ggml's types.
enum class Dtype : std::uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
  blocks,
};

namespace detail {

struct DtypeRow {
  std::string_view name;
  int bits;
};

/// One row a scalar `Dtype`, in its order.
inline constexpr DtypeRow dtype_rows[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
};
static_assert(std::size(dtype_rows) == std::size_t(Dtype::u64) + 1);

}  // namespace detail

/// Of a scalar.
constexpr int bits_of(Dtype dtype) {
  assert(dtype != Dtype::blocks);
  return detail::dtype_rows[std::size_t(dtype)].bits;
}
constexpr std::string_view name_of(Dtype dtype) {
  return dtype == Dtype::blocks ? "blocks" : detail::dtype_rows[std::size_t(dtype)].name;
}

/// The type with this safetensors name.
constexpr std::optional<Dtype> find_dtype(std::string_view name) {
  for (std::size_t i = 0; i < std::size(detail::dtype_rows); ++i) {
    if (detail::dtype_rows[i].name == name) return Dtype(i);
  }
  return std::nullopt;
}

constexpr Dtype dtype_of(ScalarKind kind) {
  switch (kind) {
    case ScalarKind::f32:
      return Dtype::f32;
    case ScalarKind::bf16:
      return Dtype::bf16;
    case ScalarKind::f16:
      return Dtype::f16;
  }
  return Dtype::f32;
}

/// The storage scalar that `dtype` is; none for integers, booleans, 8-bit and smaller floats, and double.
constexpr std::optional<ScalarKind> scalar_kind(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return ScalarKind::f32;
    case Dtype::bf16:
      return ScalarKind::bf16;
    case Dtype::f16:
      return ScalarKind::f16;
    default:
      return std::nullopt;
  }
}

/// At most 8 dimensions, slowest first (row-major); none for a scalar. Allocates nothing.
class Shape {
 public:
  static constexpr int max_rank = 8;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> sizes) {
    for (const std::int64_t size : sizes) push_back(size);
  }
  constexpr void push_back(std::int64_t size) {
    assert(rank_ < max_rank && size >= 0);
    sizes_[std::size_t(rank_++)] = size;
  }
  constexpr int rank() const { return rank_; }
  constexpr std::int64_t operator[](int dimension) const {
    assert(dimension >= 0 && dimension < rank_);
    return sizes_[std::size_t(dimension)];
  }
  constexpr const std::int64_t* begin() const { return sizes_.data(); }
  constexpr const std::int64_t* end() const { return sizes_.data() + rank_; }
  constexpr bool operator==(const Shape&) const = default;  // unused dimensions stay 0

 private:
  std::array<std::int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

/// "[3072, 1024]", as error messages print a shape.
inline std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

/// Number of elements; 1 for a scalar, none where the product exceeds 63 bits.
constexpr std::optional<std::int64_t> elements_of(const Shape& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) {
    if (size != 0 && product > std::numeric_limits<std::int64_t>::max() / size) return std::nullopt;
    product *= size;
  }
  return product;
}

/// Bytes of a tensor without padding; none where its bits overflow 63 bits or do not fill whole bytes (odd 4-bit rows).
constexpr std::optional<std::int64_t> bytes_of(Dtype dtype, const Shape& shape) {
  const std::optional<std::int64_t> elements = elements_of(shape);
  if (!elements || *elements > std::numeric_limits<std::int64_t>::max() / bits_of(dtype)) return std::nullopt;
  const std::int64_t bits = *elements * bits_of(dtype);
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

/// A tensor in memory that someone else owns: row-major, little-endian, without padding.
/// The bytes may start at *any* address (writers need not align them): copy, do not cast.
struct TensorView {
  Dtype dtype = Dtype::u8;
  Shape shape;
  std::span<const std::byte> bytes;     ///< bytes_of(dtype, shape), or rows of whole blocks
  GgmlType block_type = GgmlType::f32;  ///< where dtype is `blocks`
};

/// The type of its numbers, for messages.
constexpr std::string_view type_name(const TensorView& view) {
  return view.dtype == Dtype::blocks ? name_of(view.block_type) : name_of(view.dtype);
}

}  // namespace ivl
