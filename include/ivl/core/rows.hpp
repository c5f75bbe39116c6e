// Views of row-major rows: `Rows<Scalar, Width>` knows its width, so that a wrong shape does not compile.
#pragma once
#include <cassert>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"

namespace ivl {

/// `count` rows of `width` scalars, `stride` scalars from row to row. A view: owns nothing.
/// `Width` is `dynamic` where only the file knows it (vocabulary rows).
template <class Scalar, int Width = dynamic>
struct Rows {
  using value_type = Scalar;
  Scalar* data = nullptr;
  std::int64_t count = 0;
  std::int64_t stride = Width;

  Rows() = default;
  Rows(Scalar* data, std::int64_t count, std::int64_t stride = Width) : data(data), count(count), stride(stride) {
    assert(stride >= Width);
  }
  template <class Other>
    requires(std::is_same_v<const Other, Scalar>)
  Rows(Rows<Other, Width> other) : data(other.data), count(other.count), stride(other.stride) {}

  static constexpr int width() { return Width; }
  Scalar* operator[](std::int64_t row) const { return data + row * stride; }

  /// Rows [first, first + number).
  Rows slice(std::int64_t first, std::int64_t number) const {
    assert(first >= 0 && number >= 0 && first + number <= count);
    return {data + first * stride, number, stride};
  }
  /// Columns [First, First + Number) of every row.
  template <int First, int Number>
  Rows<Scalar, Number> columns() const {
    static_assert(First >= 0 && Number >= 0 && First + Number <= Width, "Rows: columns outside the row");
    return {data + First, count, stride};
  }
};

/// Rows whose width is known at run time only.
template <class Scalar>
struct Rows<Scalar, dynamic> {
  using value_type = Scalar;
  Scalar* data = nullptr;
  std::int64_t count = 0;
  std::int64_t columns_count = 0;
  std::int64_t stride = 0;

  Rows() = default;
  Rows(Scalar* data, std::int64_t count, std::int64_t width, std::int64_t stride)
      : data(data), count(count), columns_count(width), stride(stride) {}
  Rows(Scalar* data, std::int64_t count, std::int64_t width) : Rows(data, count, width, width) {}
  template <class Other, int Width>
    requires(std::is_same_v<const Other, const Scalar> && (std::is_const_v<Scalar> || !std::is_const_v<Other>) &&
             !(Width == dynamic && std::is_same_v<Other, Scalar>))
  Rows(Rows<Other, Width> other)
      : data(other.data), count(other.count), columns_count(other.width()), stride(other.stride) {}

  std::int64_t width() const { return columns_count; }
  Scalar* operator[](std::int64_t row) const { return data + row * stride; }
  Rows slice(std::int64_t first, std::int64_t number) const {
    assert(first >= 0 && number >= 0 && first + number <= count);
    return {data + first * stride, number, columns_count, stride};
  }
};

}  // namespace ivl
