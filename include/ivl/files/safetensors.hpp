// safetensors files: https://github.com/huggingface/safetensors
//
//   u64 n, little-endian | n bytes of JSON | the tensors' bytes
//
// The JSON maps each tensor's name to dtype, shape and [begin, end) within the tensors' bytes.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/mapped_file.hpp"

namespace ivl {

/// What one file says of itself; the views point into the bytes that were parsed.
struct SafetensorsContent {
  std::map<std::string, TensorView, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;
};

/// Reads the header of a whole file in memory and checks all of it: sizes, names, and that the tensors tile the data.
/// The views point into `file`. `where` starts every error. Throws FileError.
SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view where);

/// The tensors of a checkpoint, memory-mapped: one file, or the shards that an index lists. Move-only; views stay valid
/// as long as it (or what it was moved to) lives.
class Safetensors {
 public:
  /// `path` is a .safetensors file, or a folder with `model.safetensors` or else `model.safetensors.index.json` and its
  /// shards. Checks everything before it returns, but touches no tensor's bytes. Throws FileError.
  explicit Safetensors(const std::filesystem::path& path);

  /// The tensor of this name, null if it is missing.
  const TensorView* find(std::string_view name) const {
    const auto tensor = tensors_.find(name);
    return tensor == tensors_.end() ? nullptr : &tensor->second.view;
  }

  /// All names, sorted.
  auto names() const { return std::views::keys(tensors_); }

  std::size_t size() const { return tensors_.size(); }

  /// The path of the file that holds the tensor `name`, which must exist: for error messages.
  const std::string& file_of(std::string_view name) const {
    const auto tensor = tensors_.find(name);
    assert(tensor != tensors_.end());
    return files_[tensor->second.file].path;
  }

  /// Sum of all tensors' bytes.
  std::int64_t total_bytes() const { return total_bytes_; }

  /// Gives the memory of a tensor that has been copied elsewhere back to the system; it stays readable.
  void release(const TensorView& view) const;

 private:
  struct File {
    std::string path;
    MappedFile mapping;
  };
  struct Entry {
    TensorView view;
    std::size_t file;
  };

  void open(const std::filesystem::path& path);
  void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index);

  std::vector<File> files_;
  std::map<std::string, Entry, std::less<>> tensors_;
  std::int64_t total_bytes_ = 0;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/safetensors.ipp"
#endif
