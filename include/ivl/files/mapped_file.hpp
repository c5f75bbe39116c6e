// A file as read-only memory.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  int number() const { return number_; }

 private:
  int number_;
};

/// Throws `path: cannot <verb>: <errno as text>`.
[[noreturn]] void fail_errno(const std::filesystem::path& path, const char* verb);

}  // namespace detail

/// A whole regular file, mapped read-only. Its size is what it was at opening: where another process shortens the
/// file afterwards, reading the lost pages raises SIGBUS, which no check here can prevent. Copy files that may change.
class MappedFile {
 public:
  /// Throws FileError if it is missing, unreadable, empty or not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Gives the whole pages inside `range` back to the system, if it is a part of `bytes()`. They stay readable:
  /// touching them again reads the file again.
  void release(std::span<const std::byte> range) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/mapped_file.ipp"
#endif
