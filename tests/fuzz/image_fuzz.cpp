// Whatever the bytes: an ImageError, or a picture of a permitted size that tiles can be cut from.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ivl/image/decode.hpp"
#include "ivl/image/tiles.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr ivl::ImageLimits limits{.side_px = 500, .pixels = 50'000};
  static ivl::ThreadPool pool(1);
  try {
    const auto file = std::as_bytes(std::span(data, size));
    const ivl::DecodeOptions options{
        .orientation = ivl::Orientation::upright, .alpha = ivl::Alpha::white, .limits = limits};
    const ivl::PixelSize told = ivl::size_of_image(file, "fuzz", options);
    const ivl::Image image = ivl::decode_image(file, "fuzz", options);
    if (image.width != told.width || image.height != told.height) std::abort();
    if (image.width < 1 || image.width > limits.side_px || image.height < 1 || image.height > limits.side_px)
      std::abort();
    if (image.rgb.size() != std::size_t(image.width) * std::size_t(image.height) * 3) std::abort();
    const ivl::Tiles tiles = ivl::make_tiles(pool, ivl::Picture::view(image, {.tile_px = 13, .max_tiles = 3}));
    if (tiles.count != tiles.grid.tiles({.max_tiles = 3})) std::abort();
  } catch (const ivl::ImageError&) {
  }
  return 0;
}
