// How matrices of a format lie on CUDA: Stored<F>, one specialisation a format, in a header of its own.
//
//   planes                           data, scales, ...: each [out] rows without gaps, one plane behind the other
//   row_bytes(plane, in)             of one row
//   fill_row(plane, part, row, to)   on the host: row `row` of a part of a file becomes a row of the plane
//   tail()                           if there is one: what lies once behind the planes
//
// Rows lie apart in every plane, whatever the file does, so gate and up take turns as in any other format. How an
// element is read on the device is formats.cuh's to say.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::IVL_CUDA::detail {

template <class F>
struct Stored;

/// Formats that are scalars lie as such.
template <class F>
  requires requires { typename F::Scalar; }
struct Stored<F> {
  using Scalar = typename F::Scalar;
  static constexpr int planes = 1;
  static constexpr std::int64_t row_bytes(int, std::int64_t in) { return in * std::int64_t(sizeof(Scalar)); }
  static void fill_row(int, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    const BlockCells cells = part.cells<F>(row, 0);
    if (cells.to_next_input[0] == std::int64_t(sizeof(Scalar))) {
      std::memcpy(to, cells.at[0], std::size_t(row_bytes(0, part.in)));
      return;
    }
    const std::byte* from = cells.at[0];
    for (std::int64_t k = 0; k < part.in; ++k, from += cells.to_next_input[0])
      std::memcpy(to + k * std::int64_t(sizeof(Scalar)), from, sizeof(Scalar));
  }
};

}  // namespace ivl::IVL_CUDA::detail
