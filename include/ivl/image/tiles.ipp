// The bodies of tiles.hpp.
#pragma once
#include "ivl/image/tiles.hpp"

namespace ivl {

inline namespace IVL_CPU_LEVEL {

template <class Quads>
Tiles make_tiles(ThreadPool& pool, const Picture& picture) {
  Tiles tiles;
  tiles.tile_px = picture.rules().tile_px;
  tiles.grid = picture.grid();
  tiles.count = picture.tiles();
  tiles.pixels.resize(std::size_t(tiles.count) * std::size_t(tiles.tile_px) * std::size_t(tiles.tile_px) * 3);
  detail::for_tile_rows<Quads>(pool, picture, [&](int tile, int y, const std::uint8_t* planes, int stride) {
    std::uint8_t* out = tiles.pixels.data() + (std::int64_t(tile) * tiles.tile_px + y) * tiles.tile_px * 3;
    for (int x = 0; x < tiles.tile_px; ++x) {
      for (int colour = 0; colour < 3; ++colour) out[3 * x + colour] = planes[colour * stride + x];
    }
  });
  return tiles;
}

#ifdef IVL_COMPILED
template Tiles make_tiles<detail::PlainQuads>(ThreadPool&, const Picture&);
#if defined(__AVX2__)
template Tiles make_tiles<detail::Avx2Quads>(ThreadPool&, const Picture&);
#endif
#if defined(IVL_AVX512) && defined(__AVX512VNNI__)
template Tiles make_tiles<detail::VnniQuads>(ThreadPool&, const Picture&);
#endif
#endif

}  // namespace IVL_CPU_LEVEL

}  // namespace ivl
