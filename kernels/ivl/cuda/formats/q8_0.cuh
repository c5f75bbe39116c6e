// Q8_0 on CUDA (see formats/q8_0.hpp): codes [out, in] int8, then scales [out, in / 32] half.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/stored.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/formats/q8_0.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::cuda::detail {

template <>
struct Stored<Q8_0> {
  static constexpr int planes = 2;
  static constexpr std::int64_t row_bytes(int plane, std::int64_t in) {
    return plane == 0 ? in : in / Q8_0::block * std::int64_t(sizeof(half));
  }
  static void fill_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    const BlockCells cells = part.cells<Q8_0>(row, 0);
    const std::byte* from = cells.at[0] + (plane == 0 ? sizeof(half) : 0);
    const std::size_t bytes = plane == 0 ? Q8_0::block : sizeof(half);
    for (std::int64_t k = 0; k < part.in; k += Q8_0::block, from += cells.to_next_input[0], to += bytes)
      std::memcpy(to, from, bytes);
  }
  static __device__ float at(const std::byte* data, int out, int in, std::int64_t row, int k) {
    const int code = reinterpret_cast<const std::int8_t*>(data)[row * in + k];
    const auto* const scales = reinterpret_cast<const half*>(data + out * std::int64_t(in));
    return float(code) * prim::widen(scales[row * (in / Q8_0::block) + k / Q8_0::block]);
  }
};

}  // namespace ivl::cuda::detail
