// Keys that clients show to be served.
#pragma once
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"

namespace ivl::http {

/// Holds only digests, so that neither a dump of its memory nor the time that `find` takes tells a key.
class ApiKeys {
 public:
  /// One key a line, of printable ASCII without spaces. Empty lines, and those that begin with '#', are skipped. Throws
  /// FileError, which names lines but tells no key, and for a file without any.
  static ApiKeys read(const std::filesystem::path& file);

  /// The digest of the key if it is one of them. It takes as long for each of the same length, found or not.
  std::optional<Digest> find(std::string_view key) const;

  std::size_t size() const { return digests_.size(); }

 private:
  std::vector<Digest> digests_;
};

}  // namespace ivl::http

#ifndef IVL_COMPILED
#include "ivl/http/keys.ipp"
#endif
