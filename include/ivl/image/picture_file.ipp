// The bodies of picture_file.hpp.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/picture_file.hpp"

namespace ivl {

IVL_INLINE PictureFile::PictureFile(std::filesystem::path path, const DecodeOptions& options)
    : path_(std::move(path)), options_(options) {
  const std::vector<std::byte> file = read_image_file(path_, options_.limits);
  size_ = size_of_image(file, path_.string(), options_);
  key_ = key_of_bytes(file);
}

IVL_INLINE Image PictureFile::decode() const {
  const std::vector<std::byte> file = read_image_file(path_, options_.limits);
  if (key_of_bytes(file) != key_)
    fail<FileError>(path_.string(),
                    ": expected the picture that was opened, found another: the file has changed since");
  return decode_image(file, path_.string(), options_);
}

IVL_INLINE Digest PictureFile::key_of_bytes(std::span<const std::byte> file) const {
  Sha256 hash;
  hash.add(std::string_view("ivl-picture-file-1"));
  hash.add(std::uint64_t(options_.orientation));
  hash.add(std::uint64_t(options_.alpha));
  hash.add(std::uint64_t(file.size()));
  hash.add(file);
  return hash.finish();
}

}  // namespace ivl
