// IP addresses, and which of them are anybody's to reach.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"

namespace ivl::http {

struct Address {
  std::array<std::uint8_t, 16> bytes{};  ///< of IPv4 the first four
  bool is_v6 = false;

  bool operator==(const Address&) const = default;
};

/// Four decimal numbers, or IPv6 as RFC 4291, 2.2 writes it; nothing else, no zone.
std::optional<Address> parse_address(const std::string& text);

std::string to_text(const Address& address);

/// False for all that IANA's special-purpose registries (RFC 6890) do not call globally reachable: private, loop-back,
/// link-local, shared, documentation, multicast and reserved ranges, and whatever of IPv6 is outside 2000::/3. Stricter
/// than they are about 192.0.0.0/24 and 2001::/23 (protocols, among them Teredo), and 6to4. IPv4 inside IPv6 (mapped,
/// NAT64's 64:ff9b::/96) counts as that IPv4.
bool is_global(const Address& address);

}  // namespace ivl::http

#ifndef IVL_COMPILED
#include "ivl/http/address.ipp"
#endif
