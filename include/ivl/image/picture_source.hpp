// Where the pixels of a picture come from when a model has to see it.
#pragma once
#include "ivl/core/sha256.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// Says what can be said of a picture before it is decoded.
class PictureSource {
 public:
  virtual ~PictureSource() = default;

  /// Of the decoded picture.
  virtual PixelSize size() const = 0;
  /// Where keys are equal, so are the pixels.
  virtual const Digest& key() const = 0;
  /// Throws FileError, ImageError.
  virtual Image decode() const = 0;
};

}  // namespace ivl
