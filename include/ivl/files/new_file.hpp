// A file that is there whole or not at all.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/files/mapped_file.hpp"

namespace ivl::detail {

/// A file under a temporary name beside `path`, which takes that name only when everything is on disk. All throw
/// FileError.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path path);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();
  void write(std::span<const std::byte> bytes);
  void finish();

 private:
  std::filesystem::path path_, partial_;
  Descriptor file_;
  bool done_ = false;
};

}  // namespace ivl::detail

#ifndef IVL_COMPILED
#include "ivl/files/new_file.ipp"
#endif
