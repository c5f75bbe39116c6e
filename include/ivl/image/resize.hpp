// Bicubic resizing, equal to Pillow 11's `Image.resize` in every byte.
//
// Horizontal pass, rounded to bytes; then vertical pass. Weights are doubles rounded to 22 fractional bits, sums are
// 32-bit integers. Equality needs no care in the sums: the exact total fits 32 bits (weights of one pixel sum to at
// most 1.3 in magnitude, so |total| < 1.3 * 255 * 2^22 + 2^21 < 2^31), hence any order of additions, and any splitting
// of a weight into parts, gives the same total modulo 2^32. The weights do need care: see `rounded`.
#pragma once
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

// ---- weights -------------------------------------------------------------------------------------------------------

/// Weights of one axis. Target pixel t is the sum over i of source[first[t] + i] * weights[begin[t] + i], in units of
/// 2^-22, for i below begin[t + 1] - begin[t].
struct BicubicAxis {
  static constexpr int fraction_bits = 22;
  std::vector<int> first;             // [target]
  std::vector<int> begin;             // [target + 1]
  std::vector<std::int32_t> weights;  // [begin[target]]
};

/// How `source_px` pixels become `target_px`.
BicubicAxis bicubic_axis(int source_px, int target_px);

namespace detail {
inline namespace IVL_CPU_LEVEL {

// The instructions that a resize can use: quads.hpp.
struct PlainQuads;
struct Avx2Quads;
struct VnniQuads;
#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
using BestQuads = VnniQuads;
#elif defined(__AVX2__)
using BestQuads = Avx2Quads;
#else
using BestQuads = PlainQuads;
#endif

/// A caller's row(size index, y, planes, stride), whatever its type is.
struct RowCall {
  const void* row;
  void (*call)(const void* row, int size, int y, const std::uint8_t* planes, int stride);
};

/// The body of `resize_rows`.
template <class Quads>
void resize_and_call(ThreadPool& pool, const Image& source, std::span<const PixelSize> sizes, RowCall row);

}  // namespace IVL_CPU_LEVEL
}  // namespace detail

/// Resizes `source` to each of `sizes`, reading it once, and calls `row(size index, y, planes, stride)` for every row
/// of every result, from any thread and in any order: colour c of pixel x is planes[c * stride + x]. Throws ImageError.
template <class Quads = detail::BestQuads, class Row>
void resize_rows(ThreadPool& pool, const Image& source, std::span<const PixelSize> sizes, Row&& row) {
  using Function = std::remove_reference_t<Row>;
  const auto call = [](const void* function, int size, int y, const std::uint8_t* planes, int stride) {
    (*static_cast<Function*>(const_cast<void*>(function)))(size, y, planes, stride);
  };
  detail::resize_and_call<Quads>(pool, source, sizes, {&row, call});
}

/// `source` as `width` x `height` pixels; the aspect ratio is not kept.
template <class Quads = detail::BestQuads>
Image resize(ThreadPool& pool, const Image& source, PixelSize size);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/resize.ipp"
#endif
