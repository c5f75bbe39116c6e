// The bodies of ggml.hpp.
#pragma once
#include <optional>
#include <string>

#include "ivl/core/tensor.hpp"
#include "ivl/formats/ggml.hpp"

namespace ivl {

IVL_INLINE void dequantise_rows(GgmlType type, std::span<const std::byte> rows, std::int64_t out, std::int64_t in,
                                float* to) {
  with_ggml_type(type, [&](auto tag) {
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
