// A picture as a conversation holds it: its pixels, how it is to be cut into tiles, and the grid that follows.
#pragma once
#include <memory>
#include <span>
#include <utility>

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
  }
  Picture(Image image, const TileRules& rules) : Picture(std::make_shared<const Image>(std::move(image)), rules) {}
  /// A picture that someone else owns, for as long as this and its copies live.
  static Picture view(const Image& image, const TileRules& rules) {
    return Picture(std::shared_ptr<const Image>(std::shared_ptr<const Image>(), &image), rules);
  }

  const Image& image() const { return *image_; }
  const TileRules& rules() const { return rules_; }
  TileGrid grid() const { return grid_; }
  /// Tiles that the model sees, the thumbnail among them.
  int tiles() const { return grid_.tiles(rules_); }

 private:
  std::shared_ptr<const Image> image_;
  TileRules rules_;
  TileGrid grid_;
};

/// Equal for pictures of which a model sees the same: SHA-256 over sizes, pixels and rules, each framed by its length.
inline Digest key_of(const Picture& picture) {
  const Image& image = picture.image();
  const TileRules& rules = picture.rules();
  Sha256 hash;
  hash.add(std::string_view("ivl-picture-1"));
  for (const int number : {image.width, image.height, rules.tile_px, rules.min_tiles, rules.max_tiles, int(rules.thumbnail)})
    hash.add(std::uint64_t(number));
  hash.add(std::uint64_t(image.rgb.size()));
  hash.add(std::as_bytes(std::span(image.rgb)));
  return hash.finish();
}

}  // namespace ivl
