// Pixel values: (level / 255 - mean) / deviation, as the vision tower reads them.
#pragma once
#include <cstdint>
#include <span>

#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/facts/pixel_statistics.hpp"
#include "ivl/image/tiles.hpp"

namespace ivl {

inline namespace IVL_CPU_LEVEL {

/// What each of the 256 levels of each colour becomes: float divisions, not multiplications by reciprocals, as in
/// torchvision; then rounded to `Scalar`. Throws ConfigError.
template <class Scalar>
class PixelTable {
 public:
  explicit PixelTable(const PixelStatistics& statistics);

  Scalar operator()(int colour, std::uint8_t level) const { return values_[colour][level]; }

  /// out[x] = (*this)(colour, levels[x]) for x in [0, number).
  void row(const std::uint8_t* levels, int number, int colour, Scalar* out) const;

  /// Whether `row` may multiply; a table look-up a pixel is the slower way.
  bool products_agree() const { return products_agree_; }

 private:
#if defined(IVL_AVX512) || defined(IVL_AVX2)
  /// The whole vectors of a row; returns how many pixels they hold.
  int row_by_products(const std::uint8_t* levels, int number, int colour, Scalar* out) const;
  float mean_[3], inverse_[3], inverse_rest_[3];
#endif
  bool products_agree_ = true;
  Scalar values_[3][256];
};

/// tiles [tiles, tile_px, tile_px, 3] -> pixel_values [tiles, 3, tile_px, tile_px].
template <class Scalar>
void normalise(ThreadPool& pool, const Tiles& tiles, const PixelStatistics& statistics, Scalar* pixel_values);

/// `normalise(make_tiles(picture))` without the bytes in between: `pixel_values` [picture.tiles(), 3, tile_px,
/// tile_px]. Throws RequestError, ImageError, ConfigError.
template <class Scalar, class Quads = detail::BestQuads>
void make_pixel_values(ThreadPool& pool, const Picture& picture, const PixelStatistics& statistics,
                       std::span<Scalar> pixel_values);

}  // namespace IVL_CPU_LEVEL

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/normalise.ipp"
#endif
