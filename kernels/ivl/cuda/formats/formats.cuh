// Every format: the one dispatch over them in kernels that are right and not fast.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/cuda/formats/awq.cuh"
#include "ivl/cuda/formats/mxfp4.cuh"
#include "ivl/cuda/formats/q8_0.cuh"
#include "ivl/cuda/formats/stored.cuh"
#include "ivl/formats/format.hpp"

namespace ivl::cuda::detail {

/// Formats that kernels read as they are. Matrices in others are placed as the floats that they mean.
template <class F>
concept HasStored = requires { Stored<F>::planes; };

/// The format in which a matrix of a file is placed.
constexpr Format stored_for(Format format) {
  return with_format(format, [&](auto tag) { return HasStored<decltype(tag)> ? format : Format::f32; });
}

/// visitor(Stored<F>{}) of a format that has one.
template <class Visitor>
constexpr decltype(auto) with_stored(Format format, Visitor&& visitor) {
  return with_format(format, [&](auto tag) -> decltype(auto) {
    return visitor(Stored<std::conditional_t<HasStored<decltype(tag)>, decltype(tag), F32>>{});
  });
}

/// Bytes of all planes of a matrix.
constexpr std::int64_t stored_bytes(Format format, std::int64_t out, std::int64_t in) {
  return with_stored(format, [&](auto stored) {
    using S = decltype(stored);
    std::int64_t bytes = 0;
    for (int plane = 0; plane < S::planes; ++plane) bytes += out * S::row_bytes(plane, in);
    return bytes;
  });
}

/// A kernel's parameter: a matrix [out, in] of any format.
struct AnyMatrix {
  Format format;
  const std::byte* data;
  int out, in;

  /// One element, exactly. The format is the same for all threads.
  __device__ float at(std::int64_t row, int k) const {
    switch (format) {
      case Format::f32:
        return Stored<F32>::at(data, out, in, row, k);
      case Format::bf16:
        return Stored<Bf16>::at(data, out, in, row, k);
      case Format::f16:
        return Stored<F16>::at(data, out, in, row, k);
      case Format::mxfp4:
        return Stored<Mxfp4>::at(data, out, in, row, k);
      case Format::q8_0:
        return Stored<Q8_0>::at(data, out, in, row, k);
      case Format::awq:
        return Stored<Awq>::at(data, out, in, row, k);
      default:
        return 0;
    }
  }
};

}  // namespace ivl::cuda::detail
