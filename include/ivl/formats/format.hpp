// Weight formats: how a matrix is stored in a file and computed with. The model type never names one: a file may mix
// formats tensor by tensor.
#pragma once
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"

namespace ivl {

/// The closed list of formats that a placed matrix may have.
enum class Format : std::uint8_t {
  f32,
  bf16,
  f16,
  mxfp4,  ///< see mxfp4.hpp; of experts only
};

constexpr Format format_of(ScalarKind kind) {
  switch (kind) {
    case ScalarKind::f32:
      return Format::f32;
    case ScalarKind::bf16:
      return Format::bf16;
    case ScalarKind::f16:
      return Format::f16;
  }
  return Format::f32;
}

constexpr std::string_view name_of(Format format) {
  switch (format) {
    case Format::f32:
      return "f32";
    case Format::bf16:
      return "bf16";
    case Format::f16:
      return "f16";
    case Format::mxfp4:
      return "mxfp4";
  }
  return "?";
}

}  // namespace ivl
