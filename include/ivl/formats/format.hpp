// Weight formats: how a matrix is stored in a file and computed with. The model type never names one: a file may mix
// formats tensor by tensor.
//
// A format is a tag type in a header of its own:
//   name           as messages print it
//   block          inputs that are dequantised together: a row is whole blocks
//   planes         the cells of its planes (cells.hpp)
//   inputs_first   whether its planes lie as [in, out]
//   dequantise     a block of one row into floats, exactly
//   refused        if it has some: bytes that mean NaN
//   Scale          if it has them: the scalar of the scales, which lie in the plane `scale_plane` and are finite
//   largest        beside Scale: of a code without its scale; the product is finite too
// A new one is listed below. The CPU multiplies those that have a PanelFormat as they are, and places others as the
// floats that they mean; on CUDA each has a Stored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>

#include "ivl/core/scalar.hpp"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/gguf_mxfp4.hpp"
#include "ivl/formats/iq1_m.hpp"
#include "ivl/formats/iq1_s.hpp"
#include "ivl/formats/iq2_s.hpp"
#include "ivl/formats/iq2_xs.hpp"
#include "ivl/formats/iq2_xxs.hpp"
#include "ivl/formats/iq3_s.hpp"
#include "ivl/formats/iq3_xxs.hpp"
#include "ivl/formats/iq4_nl.hpp"
#include "ivl/formats/iq4_xs.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/formats/packed_int4.hpp"
#include "ivl/formats/q2_k.hpp"
#include "ivl/formats/q3_k.hpp"
#include "ivl/formats/q4_0.hpp"
#include "ivl/formats/q4_1.hpp"
#include "ivl/formats/q4_k.hpp"
#include "ivl/formats/q5_0.hpp"
#include "ivl/formats/q5_1.hpp"
#include "ivl/formats/q5_k.hpp"
#include "ivl/formats/q6_k.hpp"
#include "ivl/formats/q8_0.hpp"
#include "ivl/formats/scalars.hpp"
#include "ivl/formats/scaled_codes.hpp"

namespace ivl {

/// The closed list of formats that a matrix in a file may have.
enum class Format : std::uint8_t {
  f32,
  bf16,
  f16,
  mxfp4,
  q8_0,
  awq,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq1_s,
  iq1_m,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  iq4_nl,
  iq4_xs,
  gguf_mxfp4,
  // In threes by the scalar of their scales, in the order of ScalarKind; see with_scales.
  awq_f32,
  awq_bf16,
  f8_rows,
  f8_rows_bf16,
  f8_rows_f16,
  f8_blocks,
  f8_blocks_bf16,
  f8_blocks_f16,
  i8_rows,
  i8_rows_bf16,
  i8_rows_f16,
  int4_by_32,
  int4_by_32_bf16,
  int4_by_32_f16,
  int4_by_128,
  int4_by_128_bf16,
  int4_by_128_f16,
  llm_int8,
};

namespace detail {
using FormatTags =
    std::tuple<F32, Bf16, F16, Mxfp4, Q8_0, Awq, Q4_0, Q4_1, Q5_0, Q5_1, Q2K, Q3K, Q4K, Q5K, Q6K, Iq1S, Iq1M, Iq2Xxs,
               Iq2Xs, Iq2S, Iq3Xxs, Iq3S, Iq4Nl, Iq4Xs, GgufMxfp4, AwqF32, AwqBf16, F8Rows<float>, F8Rows<bf16>,
               F8Rows<half>, F8Blocks<float>, F8Blocks<bf16>, F8Blocks<half>, I8Rows<float>, I8Rows<bf16>, I8Rows<half>,
               Int4By32<float>, Int4By32<bf16>, Int4By32<half>, Int4By128<float>, Int4By128<bf16>, Int4By128<half>,
               LlmInt8>;  // in the order of Format
}
inline constexpr std::size_t format_count = std::tuple_size_v<detail::FormatTags>;

/// The tag of a format.
template <Format format>
using FormatTag = std::tuple_element_t<std::size_t(format), detail::FormatTags>;

/// visitor(tag): the only place where code branches on a format.
template <std::size_t first = 0, class Visitor>
constexpr decltype(auto) with_format(Format format, Visitor&& visitor) {
  if constexpr (first + 1 < format_count) {
    if (format != Format(first)) return with_format<first + 1>(format, std::forward<Visitor>(visitor));
  }
  return visitor(FormatTag<Format(first)>{});
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

/// The format whose scales are of this kind; `with_f32`: the one whose scales are floats.
constexpr Format with_scales(Format with_f32, ScalarKind kind) {
  if (with_f32 == Format::awq_f32 && kind == ScalarKind::f16) return Format::awq;
  return Format(int(with_f32) + int(kind));
}

}  // namespace ivl
