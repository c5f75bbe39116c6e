// The bodies of normalise.hpp.
#pragma once
#include <cstddef>
#include <cstring>

#include "ivl/core/error.hpp"
#include "ivl/image/normalise.hpp"

namespace ivl {

namespace detail {
inline namespace IVL_CPU_LEVEL {

#if defined(IVL_AVX512)
inline constexpr int pixel_lanes = 16;
using PixelVector = __m512;
inline PixelVector broadcast(float x) { return _mm512_set1_ps(x); }
inline PixelVector load_levels(const std::uint8_t* levels) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(levels))));
}
inline PixelVector fused(PixelVector a, PixelVector b, PixelVector c) { return _mm512_fmadd_ps(a, b, c); }
inline void store(float* out, PixelVector x) { _mm512_storeu_ps(out, x); }
inline void store(bf16* out, PixelVector x) {
  const __m512i bits = _mm512_castps_si512(x),
                odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
#elif defined(IVL_AVX2)
inline constexpr int pixel_lanes = 8;
using PixelVector = __m256;
inline PixelVector broadcast(float x) { return _mm256_set1_ps(x); }
inline PixelVector load_levels(const std::uint8_t* levels) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(levels))));
}
inline PixelVector fused(PixelVector a, PixelVector b, PixelVector c) { return _mm256_fmadd_ps(a, b, c); }
inline void store(float* out, PixelVector x) { _mm256_storeu_ps(out, x); }
inline void store(bf16* out, PixelVector x) {
  const __m256i bits = _mm256_castps_si256(x),
                odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m128i low = _mm256_castsi256_si128(rounded), high = _mm256_extracti128_si256(rounded, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packus_epi32(low, high));
}
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace detail

inline namespace IVL_CPU_LEVEL {

template <class Scalar>
PixelTable<Scalar>::PixelTable(const PixelStatistics& statistics) {
  check_statistics(statistics);
  for (int colour = 0; colour < 3; ++colour) {
    const float mean = statistics.mean[colour], deviation = statistics.deviation[colour];
    for (int level = 0; level < 256; ++level) {
      values_[colour][level] = round_to<Scalar>((float(level) / 255.0f - mean) / deviation);
    }
  }
#if defined(IVL_AVX512) || defined(IVL_AVX2)
  // A product with 1 / d in two parts is nearly always the rounded quotient by d: try all levels, and believe the
  // table.
  for (int colour = 0; colour < 3; ++colour) {
    mean_[colour] = statistics.mean[colour];
    inverse_[colour] = float(1 / double(statistics.deviation[colour]));
    inverse_rest_[colour] = float(1 / double(statistics.deviation[colour]) - double(inverse_[colour]));
  }
  std::uint8_t levels[256];
  for (int level = 0; level < 256; ++level) levels[level] = std::uint8_t(level);
  for (int colour = 0; colour < 3; ++colour) {
    Scalar tried[256];
    row_by_products(levels, 256, colour, tried);
    products_agree_ = products_agree_ && std::memcmp(tried, values_[colour], sizeof tried) == 0;
  }
#endif
}

template <class Scalar>
void PixelTable<Scalar>::row(const std::uint8_t* levels, int number, int colour, Scalar* out) const {
  int x = 0;
#if defined(IVL_AVX512) || defined(IVL_AVX2)
  if (products_agree_) x = row_by_products(levels, number, colour, out);
#endif
  for (; x < number; ++x) out[x] = values_[colour][levels[x]];
}

#if defined(IVL_AVX512) || defined(IVL_AVX2)
template <class Scalar>
int PixelTable<Scalar>::row_by_products(const std::uint8_t* levels, int number, int colour, Scalar* out) const {
  constexpr float step = float(1 / 255.0), step_rest = float(1 / 255.0 - double(step));
  const auto scale = detail::broadcast(step), scale_rest = detail::broadcast(step_rest);
  const auto mean = detail::broadcast(mean_[colour]);
  const auto inverse = detail::broadcast(inverse_[colour]), inverse_rest = detail::broadcast(inverse_rest_[colour]);
  int x = 0;
  for (; x + detail::pixel_lanes <= number; x += detail::pixel_lanes) {
    const auto level = detail::load_levels(levels + x);
    const auto centred = detail::fused(level, scale, level * scale_rest) - mean;
    detail::store(out + x, detail::fused(centred, inverse, centred * inverse_rest));
  }
  return x;
}
#endif

template <class Scalar>
void normalise(ThreadPool& pool, const Tiles& tiles, const PixelStatistics& statistics, Scalar* pixel_values) {
  const PixelTable<Scalar> table(statistics);
  const std::int64_t tile_px = tiles.tile_px;
  pool.run(tiles.count * tile_px, [&](std::int64_t task) {
    const std::int64_t tile = task / tile_px, y = task % tile_px;
    const std::uint8_t* in = tiles.row(int(tile), int(y));
    for (int colour = 0; colour < 3; ++colour) {
      Scalar* out = pixel_values + ((tile * 3 + colour) * tile_px + y) * tile_px;
      for (std::int64_t x = 0; x < tile_px; ++x) out[x] = table(colour, in[3 * x + colour]);
    }
  });
}

template <class Scalar, class Quads>
void make_pixel_values(ThreadPool& pool, const Picture& picture, const PixelStatistics& statistics,
                       std::span<Scalar> pixel_values) {
  const PixelTable<Scalar> table(statistics);
  const std::int64_t tile_px = picture.rules().tile_px, wanted = picture.tiles() * 3 * tile_px * tile_px;
  if (std::int64_t(pixel_values.size()) != wanted) {
    fail<RequestError>("pixel values: expected room for ", wanted, " (", picture.tiles(), " tiles), found ",
                       pixel_values.size());
  }
  detail::for_tile_rows<Quads>(pool, picture, [&](int tile, int y, const std::uint8_t* planes, int stride) {
    for (int colour = 0; colour < 3; ++colour) {
      Scalar* out = pixel_values.data() + ((std::int64_t(tile) * 3 + colour) * tile_px + y) * tile_px;
      table.row(planes + std::ptrdiff_t(colour) * stride, int(tile_px), colour, out);
    }
  });
}

#ifdef IVL_COMPILED
template class PixelTable<float>;
template class PixelTable<bf16>;
template void normalise<float>(ThreadPool&, const Tiles&, const PixelStatistics&, float*);
template void normalise<bf16>(ThreadPool&, const Tiles&, const PixelStatistics&, bf16*);
template void make_pixel_values<float>(ThreadPool&, const Picture&, const PixelStatistics&, std::span<float>);
template void make_pixel_values<bf16>(ThreadPool&, const Picture&, const PixelStatistics&, std::span<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL

}  // namespace ivl
