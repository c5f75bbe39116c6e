// Weight formats: how a matrix is stored in a file and computed with. The model type never names one: a file may mix
// formats tensor by tensor.
//
// A format is a tag type in a header of its own:
//   name           as messages print it
//   block          inputs that are dequantised together: a row is whole blocks
//   planes         the cells of its planes (cells.hpp)
//   inputs_first   whether its planes lie as [in, out]
//   dequantise     a block of one row into floats, exactly
//   refused        if it has one: a byte that means no number
// A new one is listed below, and gets a PanelFormat in cpu/.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/formats/q8_0.hpp"
#include "ivl/formats/scalars.hpp"

namespace ivl {

/// The closed list of formats that a placed matrix may have.
enum class Format : std::uint8_t { f32, bf16, f16, mxfp4, q8_0, awq };

namespace detail {
using FormatTags = std::tuple<F32, Bf16, F16, Mxfp4, Q8_0, Awq>;  // in the order of Format
}
inline constexpr std::size_t format_count = std::tuple_size_v<detail::FormatTags>;

/// The tag of a format.
template <Format format>
using FormatTag = std::tuple_element_t<std::size_t(format), detail::FormatTags>;

/// visitor(tag): the only place where code branches on a format.
template <class Visitor>
constexpr decltype(auto) with_format(Format format, Visitor&& visitor) {
  switch (format) {
    case Format::f32:
      return visitor(FormatTag<Format::f32>{});
    case Format::bf16:
      return visitor(FormatTag<Format::bf16>{});
    case Format::f16:
      return visitor(FormatTag<Format::f16>{});
    case Format::mxfp4:
      return visitor(FormatTag<Format::mxfp4>{});
    case Format::q8_0:
      return visitor(FormatTag<Format::q8_0>{});
    case Format::awq:
      return visitor(FormatTag<Format::awq>{});
  }
  __builtin_unreachable();
}

constexpr std::string_view name_of(Format format) {
  return with_format(format, [](auto tag) { return decltype(tag)::name; });
}

/// The format of matrices that are scalars of this kind.
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

}  // namespace ivl
