// What stands at one <image> mark of a conversation: a picture's pixels or where they come from, how it is to be cut
// into tiles, and the grid that follows; or several pictures behind one another.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/facts/tile_rules.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/picture_file.hpp"
#include "ivl/image/picture_source.hpp"
#include "ivl/image/tile_grid.hpp"

namespace ivl {

/// The grid is decided here, once. Copies share the pixels, or the source.
class Picture {
 public:
  /// Throws RequestError and ImageError for rules or a picture that have no grid.
  Picture(std::shared_ptr<const Image> image, const TileRules& rules);
  Picture(Image image, const TileRules& rules) : Picture(std::make_shared<const Image>(std::move(image)), rules) {}

  /// Decoded whenever a model has to see it, and not kept.
  Picture(std::shared_ptr<const PictureSource> source, const TileRules& rules);
  Picture(PictureFile file, const TileRules& rules)
      : Picture(std::make_shared<const PictureFile>(std::move(file)), rules) {}

  /// A picture that someone else owns, for as long as this and its copies live.
  static Picture view(const Image& image, const TileRules& rules) {
    return Picture(std::shared_ptr<const Image>(std::shared_ptr<const Image>(), &image), rules);
  }

  /// Tiles that the caller has cut and normalised himself, as the reference's pixel_values: [tiles, 3, tile_px,
  /// tile_px]. Such a picture has no image and no grid. Throws RequestError unless they are whole tiles.
  static Picture from_pixel_values(std::vector<float> values, int tile_px);

  /// Several pictures at one mark, their tiles behind one another: what the model cards call combined images, and what
  /// the reference's chat() makes of concatenated pixel_values without a num_patches_list. Such a picture has no image
  /// and no grid of its own. Throws RequestError for fewer than one part, parts of different tiles, and pixel values,
  /// which their caller concatenates himself.
  static Picture combined(std::vector<Picture> parts);

  /// Of a combined picture its pictures; else empty.
  std::span<const Picture> parts() const {
    return parts_ ? std::span<const Picture>(*parts_) : std::span<const Picture>();
  }

  /// In pixels; 0 x 0 where there is no image.
  PixelSize size() const { return size_; }
  /// The pixels: of a source they are decoded now, and are the caller's alone. Null where there is no image. Throws
  /// FileError, ImageError.
  std::shared_ptr<const Image> image() const;
  const TileRules& rules() const { return rules_; }
  TileGrid grid() const { return grid_; }
  /// Tiles that the model sees, the thumbnail among them.
  int tiles() const { return tiles_; }
  /// Empty where there is an image or a source.
  std::span<const float> pixel_values() const {
    return pixel_values_ ? std::span<const float>(*pixel_values_) : std::span<const float>();
  }

 private:
  friend Digest key_of(const Picture& picture);

  Picture() = default;
  Picture(PixelSize size, const TileRules& rules);

  PixelSize size_;
  std::shared_ptr<const Image> image_;
  std::shared_ptr<const PictureSource> source_;
  std::shared_ptr<const std::vector<float>> pixel_values_;
  std::shared_ptr<const std::vector<Picture>> parts_;
  TileRules rules_;
  TileGrid grid_;
  int tiles_ = 0;
};

/// Where keys are equal a model sees the same: SHA-256 over rules, and over the size and the pixels or the source's
/// key; of a combined picture over its parts' keys. A source is not decoded for it.
Digest key_of(const Picture& picture);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/picture.ipp"
#endif
