// The bodies of ggml.hpp.
#pragma once
#include <optional>
#include <string>

#include "ivl/core/tensor.hpp"
#include "ivl/formats/ggml.hpp"

namespace ivl {

IVL_INLINE Format format_of(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return Format::f32;
    case GgmlType::f16:
      return Format::f16;
    case GgmlType::bf16:
      return Format::bf16;
    case GgmlType::q4_0:
      return Format::q4_0;
    case GgmlType::q4_1:
      return Format::q4_1;
    case GgmlType::q5_0:
      return Format::q5_0;
    case GgmlType::q5_1:
      return Format::q5_1;
    case GgmlType::q8_0:
      return Format::q8_0;
    case GgmlType::q2_k:
      return Format::q2_k;
    case GgmlType::q3_k:
      return Format::q3_k;
    case GgmlType::q4_k:
      return Format::q4_k;
    case GgmlType::q5_k:
      return Format::q5_k;
    case GgmlType::q6_k:
      return Format::q6_k;
    case GgmlType::iq1_s:
      return Format::iq1_s;
    case GgmlType::iq1_m:
      return Format::iq1_m;
    case GgmlType::iq2_xxs:
      return Format::iq2_xxs;
    case GgmlType::iq2_xs:
      return Format::iq2_xs;
    case GgmlType::iq2_s:
      return Format::iq2_s;
    case GgmlType::iq3_xxs:
      return Format::iq3_xxs;
    case GgmlType::iq3_s:
      return Format::iq3_s;
    case GgmlType::iq4_nl:
      return Format::iq4_nl;
    case GgmlType::iq4_xs:
      return Format::iq4_xs;
    case GgmlType::mxfp4:
      return Format::gguf_mxfp4;
    default:
      fail<FileError>("the tensor type ", name_of(type),
                      " is not supported: expected a scalar, Q*_0, Q*_1, Q*_K, IQ* or MXFP4");
  }
}

IVL_INLINE void dequantise_rows(GgmlType type, std::span<const std::byte> rows, std::int64_t out, std::int64_t in,
                                float* to) {
  with_format(format_of(type), [&](auto tag) {
    using F = decltype(tag);
    if (in % F::block != 0) {
      fail<FileError>("rows in ", F::name, ": expected whole blocks of ", F::block, ", found ", in, " columns");
    }
    const std::optional<std::int64_t> elements = elements_of({out, in});
    const std::optional<std::int64_t> bytes = elements ? bytes_of(type, *elements) : std::nullopt;
    if (bytes != std::int64_t(rows.size())) {
      fail<FileError>(out, " rows of ", in, " in ", F::name, ": expected ",
                      bytes ? std::to_string(*bytes) : "fewer than 2^63", " bytes, found ", rows.size());
    }
    BlockCells cells;
    cells.at[0] = rows.data();
    for (const std::byte* end = rows.data() + rows.size(); cells.at[0] != end; to += F::block) {
      F::dequantise(cells, to);
      cells.at[0] += F::planes[0].bytes;
    }
  });
}

}  // namespace ivl
