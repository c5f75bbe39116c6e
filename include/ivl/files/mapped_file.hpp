// A file as read-only memory.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

/// Throws `path: cannot <verb>: <errno as text>`.
[[noreturn]] inline void fail_errno(const std::filesystem::path& path, const char* verb) {
  const int code = errno;
  fail<FileError>(path.string(), ": cannot ", verb, ": ", std::generic_category().message(code));
}

}  // namespace detail

/// A whole regular file, mapped read-only. Its size is what it was at opening: where another process shortens the
/// file afterwards, reading the lost pages raises SIGBUS, which no check here can prevent. Copy files that may change.
class MappedFile {
 public:
  /// Throws FileError for what is missing, unreadable, empty or not a regular file.
  explicit MappedFile(const std::filesystem::path& path) {
    // Non-blocking, or opening a named pipe would wait for a writer; it changes nothing for a regular file.
    const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.number() < 0) detail::fail_errno(path, "open");
    struct stat status {};
    if (::fstat(file.number(), &status) != 0) detail::fail_errno(path, "stat");
    if (!S_ISREG(status.st_mode)) {
      fail<FileError>(path.string(), ": expected a regular file, found ", kind(status.st_mode));
    }
    if (status.st_size == 0) fail<FileError>(path.string(), ": the file is empty");
    size_ = std::size_t(status.st_size);
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
    if (address == MAP_FAILED) detail::fail_errno(path, "map");
    data_ = static_cast<const std::byte*>(address);
  }
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// Gives the whole pages inside `range`, a part of `bytes()`, back to the system. They stay readable: touching them
  /// again reads the file again.
  void release(std::span<const std::byte> range) const {
    const auto page_bytes = std::uintptr_t(::sysconf(_SC_PAGESIZE));
    const auto first = reinterpret_cast<std::uintptr_t>(range.data());
    const std::uintptr_t begin = (first + page_bytes - 1) / page_bytes * page_bytes;
    const std::uintptr_t end = (first + range.size()) / page_bytes * page_bytes;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

 private:
  static const char* kind(mode_t mode) {
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a named pipe";
    return "a device or socket";
  }

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ivl
