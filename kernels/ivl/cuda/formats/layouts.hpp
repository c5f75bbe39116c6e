// The formats that coded.hpp lays, all of them, and what choices need to know of a format: plain C++.
#pragma once
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/formats/ggml.hpp"
#include "ivl/cuda/formats/int4.hpp"
#include "ivl/cuda/formats/scaled_codes.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::IVL_CUDA::detail {

constexpr bool is_coded(Format format) {
  return with_format(format, [](auto tag) { return IsCoded<decltype(tag)>; });
}
/// Of a format that is.
constexpr CodedLayout coded_layout(Format format) {
  return with_format(format, [](auto tag) -> CodedLayout {
    if constexpr (IsCoded<decltype(tag)>) return CodedFormat<decltype(tag)>::layout;
    return {};
  });
}

/// Whether a matrix lies as mxfp4.cuh says.
constexpr bool is_mxfp4(Format format) { return format == Format::mxfp4 || format == Format::gguf_mxfp4; }

/// Whether a matrix lies as blocks.cuh says. (choose.hpp asks this; the blocks themselves are device code.)
constexpr bool is_blocks(Format format) {
  return format == Format::q2_k || format == Format::q3_k || (format >= Format::iq1_s && format <= Format::iq3_s);
}

/// Whether products of a single matrix unpack some of its rows at a time (linear/unpack.cuh), and to which layout.
constexpr bool is_unpacked(Format format) { return is_blocks(format) || is_mxfp4(format); }
constexpr CodedLayout unpacked_layout(Format format) {
  return {.kind = CodeKind::int8, .group = 16, .scale = ScalarKind::f32, .has_minimum = format == Format::q2_k};
}

}  // namespace ivl::IVL_CUDA::detail
