// The bodies of new_file.hpp.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "ivl/files/new_file.hpp"

namespace ivl::detail {

IVL_INLINE NewFile::NewFile(std::filesystem::path path)
    : path_(std::move(path)),
      partial_(path_.string() + ".partial-" + std::to_string(::getpid())),
      file_(::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
  if (file_.number() < 0) fail_errno(partial_, "create");
}

IVL_INLINE NewFile::~NewFile() {
  if (!done_) ::unlink(partial_.c_str());
}

IVL_INLINE void NewFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ::ssize_t written = ::write(file_.number(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(partial_, "write");
    bytes = bytes.subspan(std::size_t(written));
  }
}

IVL_INLINE void NewFile::finish() {
  if (::fsync(file_.number()) != 0) fail_errno(partial_, "write");
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail_errno(path_, "replace");
  done_ = true;
}

}  // namespace ivl::detail
