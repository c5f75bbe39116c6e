// A digest as golden files write it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ivl/core/sha256.hpp"

namespace ivl::test {

inline std::string hex(const Digest& digest) {
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += "0123456789abcdef"[byte / 16];
    text += "0123456789abcdef"[byte % 16];
  }
  return text;
}

inline std::string hex_sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hex(hash.finish());
}

}  // namespace ivl::test
