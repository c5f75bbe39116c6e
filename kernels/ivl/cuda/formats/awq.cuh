// AWQ on CUDA (see formats/awq.hpp): codes [out, in / 2], the even input in the low half of a byte, then scales
// [out, in / 128] half, then zero points [out, in / 128] bytes.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/stored.cuh"
#include "ivl/cuda/prim/convert.cuh"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::cuda::detail {

template <>
struct Stored<Awq> {
  static constexpr int planes = 3;
  static constexpr std::int64_t row_bytes(int plane, std::int64_t in) {
    return plane == 0 ? in / 2 : in / Awq::block * std::int64_t(plane == 1 ? sizeof(half) : 1);
  }
  static void fill_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    const BlockCells cells = part.cells<Awq>(row, 0);
    const std::byte* from = cells.at[std::size_t(plane)];
    const std::int64_t step = cells.to_next_input[std::size_t(plane)];
    if (plane == 0) {
      for (std::int64_t k = 0; k < part.in; k += 2, from += 2 * step) {
        const int even = Awq::code(from, cells.output), odd = Awq::code(from + step, cells.output);
        *to++ = std::byte(even | odd << 4);
      }
      return;
    }
    for (std::int64_t k = 0; k < part.in; k += Awq::block, from += step) {
      if (plane == 1) {
        std::memcpy(to, from, sizeof(half));
        to += sizeof(half);
      } else {
        *to++ = std::byte(Awq::code(from, cells.output));
      }
    }
  }
  static __device__ float at(const std::byte* data, int out, int in, std::int64_t row, int k) {
    const int groups = in / Awq::block, pair = int(reinterpret_cast<const std::uint8_t*>(data)[row * (in / 2) + k / 2]);
    const std::byte* const scales = data + out * std::int64_t(in / 2);
    const std::byte* const zeros = scales + out * std::int64_t(groups) * std::int64_t(sizeof(half));
    const std::int64_t group = row * groups + k / Awq::block;
    const int zero = int(reinterpret_cast<const std::uint8_t*>(zeros)[group]);
    const int code = k % 2 == 0 ? pair & 15 : pair >> 4;
    return float(code - zero) * prim::widen(reinterpret_cast<const half*>(scales)[group]);
  }
};

}  // namespace ivl::cuda::detail
