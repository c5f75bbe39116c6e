// A picture in a file: looked at now, decoded when its turn comes.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/picture_source.hpp"

namespace ivl {

/// Holds the path, the size and a digest, and none of the bytes.
class PictureFile final : public PictureSource {
 public:
  /// Reads the file and walks over its structure: one that is cut or not supported is refused here. Throws FileError,
  /// ImageError.
  explicit PictureFile(std::filesystem::path path, const DecodeOptions& options = {});

  PixelSize size() const override { return size_; }
  /// Of the file's bytes and the options.
  const Digest& key() const override { return key_; }

  /// Reads the file again. Throws FileError where it is gone or not what it was, ImageError.
  Image decode() const override;

 private:
  Digest key_of_bytes(std::span<const std::byte> file) const;

  std::filesystem::path path_;
  DecodeOptions options_;
  PixelSize size_;
  Digest key_{};
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/picture_file.ipp"
#endif
