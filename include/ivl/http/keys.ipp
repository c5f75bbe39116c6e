// The bodies of keys.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "ivl/core/error.hpp"
#include "ivl/http/keys.hpp"

namespace ivl::http {

namespace detail {

inline Digest digest_of(std::string_view text) {
  Sha256 sha;
  sha.add(text);
  return sha.finish();
}

}  // namespace detail

IVL_INLINE ApiKeys ApiKeys::read(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) fail<FileError>(file.string(), ": cannot be read");
  ApiKeys keys;
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with('#')) continue;
    if (!std::all_of(line.begin(), line.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
      fail<FileError>(file.string(), ": line ", number, ": expected a key of printable ASCII without spaces");
    keys.digests_.push_back(detail::digest_of(line));
  }
  if (stream.bad()) fail<FileError>(file.string(), ": cannot be read to its end");
  if (keys.digests_.empty()) fail<FileError>(file.string(), ": expected keys, one a line, found none");
  return keys;
}

IVL_INLINE std::optional<Digest> ApiKeys::find(std::string_view key) const {
  const Digest digest = detail::digest_of(key);
  bool found = false;
  for (const Digest& known : digests_) {  // all of them, and all of each
    std::uint8_t difference = 0;
    for (std::size_t i = 0; i < digest.size(); ++i) difference |= std::uint8_t(known[i] ^ digest[i]);
    found |= difference == 0;
  }
  return found ? std::optional(digest) : std::nullopt;
}

}  // namespace ivl::http
