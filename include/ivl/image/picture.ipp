// The bodies of picture.hpp.
#pragma once
#include <cstddef>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/image/picture.hpp"

namespace ivl {

IVL_INLINE Picture::Picture(PixelSize size, const TileRules& rules)
    : size_(size), rules_(rules), grid_(choose_grid(size.width, size.height, rules)), tiles_(grid_.tiles(rules)) {}

IVL_INLINE Picture::Picture(std::shared_ptr<const Image> image, const TileRules& rules)
    : Picture((check_picture(*image), PixelSize{image->width, image->height}), rules) {
  image_ = std::move(image);
}

IVL_INLINE Picture::Picture(std::shared_ptr<const PictureSource> source, const TileRules& rules)
    : Picture(source->size(), rules) {
  source_ = std::move(source);
}

IVL_INLINE std::shared_ptr<const Image> Picture::image() const {
  return source_ ? std::make_shared<const Image>(source_->decode()) : image_;
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

IVL_INLINE Picture Picture::combined(std::vector<Picture> parts) {
  std::vector<Picture> flat;
  for (Picture& part : parts) {
    if (!part.pixel_values().empty())
      fail<RequestError>("combined pictures: expected images, found pixel values; concatenate these");
    if (part.parts().empty())
      flat.push_back(std::move(part));
    else
      flat.insert(flat.end(), part.parts().begin(), part.parts().end());
  }
  if (flat.empty()) fail<RequestError>("combined pictures: expected at least one, found none");
  Picture whole;
  whole.rules_ = flat.front().rules();
  for (const Picture& part : flat) {
    if (part.rules().tile_px != whole.rules_.tile_px)
      fail<RequestError>("combined pictures: expected tiles of one size, found ", whole.rules_.tile_px, " and ",
                         part.rules().tile_px, " pixels");
    whole.tiles_ += part.tiles();
  }
  whole.parts_ = std::make_shared<const std::vector<Picture>>(std::move(flat));
  return whole;
}

IVL_INLINE Digest key_of(const Picture& picture) {
  Sha256 hash;
  if (!picture.parts().empty()) {
    hash.add(std::string_view("ivl-combined-1"));
    for (const Picture& part : picture.parts()) {
      const Digest key = key_of(part);
      hash.add(std::as_bytes(std::span(key)));
    }
    return hash.finish();
  }
  const TileRules& rules = picture.rules();
  if (const auto values = picture.pixel_values(); !values.empty()) {
    hash.add(std::string_view("ivl-pixel-values-1"));
    hash.add(std::uint64_t(rules.tile_px));
    hash.add(std::uint64_t(values.size()));
    hash.add(std::as_bytes(values));
    return hash.finish();
  }
  hash.add(std::string_view("ivl-picture-1"));
  for (const int number : {picture.size_.width, picture.size_.height, rules.tile_px, rules.min_tiles, rules.max_tiles,
                           int(rules.thumbnail)})
    hash.add(std::uint64_t(number));
  const auto bytes = picture.source_ ? std::as_bytes(std::span(picture.source_->key()))
                                     : std::as_bytes(std::span(picture.image_->rgb));
  hash.add(std::uint64_t(bytes.size()));
  hash.add(bytes);
  return hash.finish();
}

}  // namespace ivl
