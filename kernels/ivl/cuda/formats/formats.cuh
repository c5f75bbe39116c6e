// Every format: how its matrices are placed, and one element of any of them, in kernels that are right and not fast.
//
//   scalars    f32, bf16, f16                               stored.cuh
//   mxfp4      of safetensors and of GGUF                   mxfp4.cuh
//   coded      whole numbers or FP8, with scales            coded.hpp, which the other .hpp fill in
//   blocks     of two and three bits, and rows of a grid    blocks.cuh
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "ivl/cuda/formats/blocks.cuh"
#include "ivl/cuda/formats/coded.cuh"
#include "ivl/cuda/formats/layouts.hpp"
#include "ivl/cuda/formats/mxfp4.cuh"
#include "ivl/cuda/formats/stored.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::IVL_CUDA::detail {

template <IsCoded F>
struct Stored<F> {
  static constexpr int planes = 5;
  static constexpr std::int64_t row_bytes(int plane, std::int64_t in) {
    constexpr CodedLayout layout = CodedFormat<F>::layout;
    const std::int64_t bytes[planes] = {layout.codes_bytes(in), layout.high_bytes(in), layout.scales_bytes(in),
                                        layout.steps_bytes(in), layout.zeros_bytes(in)};
    return bytes[plane];
  }
  static void fill_row(int plane, const SourceMatrix& part, std::int64_t row, std::byte* to) {
    fill_coded_row<F>(plane, part, row, to);
  }
};

/// Bytes of all planes of a matrix, and of what lies behind them.
constexpr std::int64_t stored_bytes(Format format, std::int64_t out, std::int64_t in) {
  return with_format(format, [&](auto tag) {
    using S = Stored<decltype(tag)>;
    std::int64_t bytes = 0;
    for (int plane = 0; plane < S::planes; ++plane) bytes += out * S::row_bytes(plane, in);
    if constexpr (requires { S::tail(); }) bytes += std::int64_t(S::tail().size_bytes());
    return bytes;
  });
}

static_assert(
    [] {
      for (std::size_t i = 0; i < format_count; ++i) {
        if (with_format(Format(i), [](auto tag) { return IsBlocks<decltype(tag)>; }) != is_blocks(Format(i)))
          return false;
      }
      return true;
    }(),
    "layouts.hpp and blocks.cuh must name the same formats");

/// One element of a format that is_unpacked, as its code, scale and minimum. The format is the same for all threads.
__device__ inline blocks::Element unpacked_element(Format format, const std::byte* data, int out, int in,
                                                   std::int64_t row, int k) {
  if (format != Format::mxfp4 && format != Format::gguf_mxfp4) return block_element(format, data, out, in, row, k);
  // Under this scale numbers come out doubled, which are whole.
  const int code = int(mxfp4::element(data, in, row, k, mxfp4::Scale{128}));
  return {code, mxfp4::scale_at(data, out, in, row, k).of_doubled()};
}

/// A kernel's parameter: a matrix [out, in] of any format.
struct AnyMatrix {
  Format format;
  const std::byte* data;
  int out, in;
  CodedMatrix coded;  // of formats that are

  AnyMatrix(Format format, const std::byte* data, std::int64_t out, std::int64_t in)
      : format(format),
        data(data),
        out(int(out)),
        in(int(in)),
        coded(is_coded(format) ? CodedMatrix(coded_layout(format), data, out, in) : CodedMatrix()) {}

  /// One that lies `bytes` behind it.
  __device__ AnyMatrix behind(std::int64_t bytes) const {
    AnyMatrix other = *this;
    other.data += bytes;
    other.coded = coded.behind(bytes);
    return other;
  }

  /// One element, exactly. The format is the same for all threads.
  __device__ float at(std::int64_t row, int k) const {
    switch (format) {
      case Format::f32:
        return scalar_at<float>(row, k);
      case Format::bf16:
        return scalar_at<bf16>(row, k);
      case Format::f16:
        return scalar_at<half>(row, k);
      case Format::mxfp4:
      case Format::gguf_mxfp4:
        return mxfp4::element(data, in, row, k, mxfp4::scale_at(data, out, in, row, k));
      case Format::q2_k:
      case Format::q3_k:
      case Format::iq1_s:
      case Format::iq1_m:
      case Format::iq2_xxs:
      case Format::iq2_xs:
      case Format::iq2_s:
      case Format::iq3_xxs:
      case Format::iq3_s: {
        const blocks::Element element = block_element(format, data, out, in, row, k);
        return float(element.code) * element.scale - element.minimum;  // an exact product, as in coded_at
      }
      default:
        return coded_at(coded, row, k);
    }
  }

 private:
  template <class Scalar>
  __device__ float scalar_at(std::int64_t row, int k) const {
    return prim::widen(reinterpret_cast<const Scalar*>(data)[row * in + k]);
  }
};

}  // namespace ivl::IVL_CUDA::detail
