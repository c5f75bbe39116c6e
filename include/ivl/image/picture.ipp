// The bodies of picture.hpp.
#pragma once
#include <cstddef>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/image/picture.hpp"

namespace ivl {

IVL_INLINE Picture::Picture(std::shared_ptr<const Image> image, const TileRules& rules)
    : image_(std::move(image)), rules_(rules) {
  check_picture(*image_);
  grid_ = choose_grid(image_->width, image_->height, rules);
  tiles_ = grid_.tiles(rules);
}

IVL_INLINE Picture Picture::from_pixel_values(std::vector<float> values, int tile_px) {
  const std::size_t per_tile = std::size_t(3) * std::size_t(tile_px) * std::size_t(tile_px);
  if (values.empty() || values.size() % per_tile != 0)
    fail<RequestError>("pixel values: expected a whole number of tiles of ", per_tile, " values, found ",
                       values.size());
  Picture picture;
  picture.rules_.tile_px = tile_px;
  picture.tiles_ = int(values.size() / per_tile);
  picture.pixel_values_ = std::make_shared<const std::vector<float>>(std::move(values));
  return picture;
}

IVL_INLINE Digest key_of(const Picture& picture) {
  Sha256 hash;
  const TileRules& rules = picture.rules();
  if (const auto values = picture.pixel_values(); !values.empty()) {
    hash.add(std::string_view("ivl-pixel-values-1"));
    hash.add(std::uint64_t(rules.tile_px));
    hash.add(std::uint64_t(values.size()));
    hash.add(std::as_bytes(values));
    return hash.finish();
  }
  const Image& image = picture.image();
  hash.add(std::string_view("ivl-picture-1"));
  for (const int number :
       {image.width, image.height, rules.tile_px, rules.min_tiles, rules.max_tiles, int(rules.thumbnail)})
    hash.add(std::uint64_t(number));
  hash.add(std::uint64_t(image.rgb.size()));
  hash.add(std::as_bytes(std::span(image.rgb)));
  return hash.finish();
}

}  // namespace ivl
