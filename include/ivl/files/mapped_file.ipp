// The bodies of mapped_file.hpp.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <system_error>

#include "ivl/core/error.hpp"
#include "ivl/files/mapped_file.hpp"

namespace ivl {

namespace detail {

IVL_INLINE Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

[[noreturn]] IVL_INLINE void fail_errno(const std::filesystem::path& path, const char* verb) {
  const int code = errno;
  fail<FileError>(path.string(), ": cannot ", verb, ": ", std::generic_category().message(code));
}

inline const char* kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  return "a device or socket";
}

}  // namespace detail

IVL_INLINE MappedFile::MappedFile(const std::filesystem::path& path) {
  // Non-blocking, or opening a named pipe would wait for a writer; it changes nothing for a regular file.
  const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) detail::fail_errno(path, "open");
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) detail::fail_errno(path, "stat");
  if (!S_ISREG(status.st_mode)) {
    fail<FileError>(path.string(), ": expected a regular file, found ", detail::kind_of_file(status.st_mode));
  }
  if (status.st_size == 0) fail<FileError>(path.string(), ": the file is empty");
  size_ = std::size_t(status.st_size);
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (address == MAP_FAILED) detail::fail_errno(path, "map");
  data_ = static_cast<const std::byte*>(address);
}

IVL_INLINE MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

IVL_INLINE void MappedFile::release(std::span<const std::byte> range) const {
  const std::less_equal<const std::byte*> at_most;
  if (!at_most(data_, range.data()) || !at_most(range.data() + range.size(), data_ + size_)) return;
  const auto page_bytes = std::uintptr_t(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t begin = (first + page_bytes - 1) / page_bytes * page_bytes;
  const std::uintptr_t end = (first + range.size()) / page_bytes * page_bytes;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace ivl
