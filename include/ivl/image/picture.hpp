// A picture as a conversation holds it: its pixels, how it is to be cut into tiles, and the grid that follows.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/facts/tile_rules.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/tile_grid.hpp"

namespace ivl {

/// The grid is decided here, once. Copies share the pixels.
class Picture {
 public:
  /// Throws RequestError and ImageError for rules or a picture that have no grid.
  Picture(std::shared_ptr<const Image> image, const TileRules& rules) : image_(std::move(image)), rules_(rules) {
    check_picture(*image_);
    grid_ = choose_grid(image_->width, image_->height, rules);
    tiles_ = grid_.tiles(rules);
  }
  Picture(Image image, const TileRules& rules) : Picture(std::make_shared<const Image>(std::move(image)), rules) {}

  /// A picture that someone else owns, for as long as this and its copies live.
  static Picture view(const Image& image, const TileRules& rules) {
    return Picture(std::shared_ptr<const Image>(std::shared_ptr<const Image>(), &image), rules);
  }

  /// Tiles that the caller has cut and normalised himself, as the reference's pixel_values: [tiles, 3, tile_px,
  /// tile_px]. Such a picture has no image and no grid. Throws RequestError unless they are whole tiles.
  static Picture from_pixel_values(std::vector<float> values, int tile_px) {
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

  const Image& image() const { return *image_; }
  const TileRules& rules() const { return rules_; }
  TileGrid grid() const { return grid_; }
  /// Tiles that the model sees, the thumbnail among them.
  int tiles() const { return tiles_; }
  /// Empty where there is an image.
  std::span<const float> pixel_values() const {
    return pixel_values_ ? std::span<const float>(*pixel_values_) : std::span<const float>();
  }

 private:
  Picture() = default;
  std::shared_ptr<const Image> image_;
  std::shared_ptr<const std::vector<float>> pixel_values_;
  TileRules rules_;
  TileGrid grid_;
  int tiles_ = 0;
};

/// Equal for pictures of which a model sees the same: SHA-256 over sizes, pixels and rules, each framed by its length.
inline Digest key_of(const Picture& picture) {
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
