// The formats that are scalars, one an element.
#pragma once
#include <cstring>
#include <string_view>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/cells.hpp"

namespace ivl {

namespace detail {

template <class Element>
struct ScalarFormat {
  using Scalar = Element;
  static constexpr int block = 1;
  static constexpr bool inputs_first = false;
  static constexpr Cell planes[1] = {{"data", 1, 1, sizeof(Scalar)}};  // nvcc 13.0 needs the 1

  static void dequantise(const BlockCells& cells, float* to) {
    Scalar scalar;
    std::memcpy(&scalar, cells.at[0], sizeof scalar);
    *to = to_float(scalar);
  }
};

}  // namespace detail

struct F32 : detail::ScalarFormat<float> {
  static constexpr std::string_view name = "f32";
};
struct Bf16 : detail::ScalarFormat<bf16> {
  static constexpr std::string_view name = "bf16";
};
struct F16 : detail::ScalarFormat<half> {
  static constexpr std::string_view name = "f16";
};

}  // namespace ivl
