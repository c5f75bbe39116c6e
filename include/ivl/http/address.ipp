// The bodies of address.hpp.
#pragma once
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "ivl/http/address.hpp"

namespace ivl::http {

namespace detail {

/// The first `bits` of an address.
struct AddressRange {
  std::array<std::uint8_t, 6> first;
  int bits;

  bool contains(const Address& address) const {
    for (int bit = 0; bit < bits; ++bit) {
      const int mask = 0x80 >> bit % 8;
      if ((address.bytes[std::size_t(bit / 8)] ^ first[std::size_t(bit / 8)]) & mask) return false;
    }
    return true;
  }
};

inline bool is_in(std::span<const AddressRange> ranges, const Address& address) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const AddressRange& range) { return range.contains(address); });
}

/// https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast
inline constexpr AddressRange special_v4[] = {
    {{0}, 8},              // this network
    {{10}, 8},             // private
    {{100, 64}, 10},       // shared, behind carriers' NAT
    {{127}, 8},            // loop-back
    {{169, 254}, 16},      // link-local, among it clouds' metadata
    {{172, 16}, 12},       // private
    {{192, 0, 0}, 24},     // protocols
    {{192, 0, 2}, 24},     // documentation
    {{192, 88, 99}, 24},   // 6to4 relays, deprecated
    {{192, 168}, 16},      // private
    {{198, 18}, 15},       // benchmarks
    {{198, 51, 100}, 24},  // documentation
    {{203, 0, 113}, 24},   // documentation
    {{224}, 3},            // multicast, reserved, broadcast
};

/// https://www.iana.org/assignments/iana-ipv6-special-registry: what of it lies in 2000::/3
inline constexpr AddressRange special_v6[] = {
    {{0x20, 0x01, 0x00}, 23},        // protocols: Teredo, benchmarks, ORCHID and others
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02}, 16},              // 6to4
    {{0x3f, 0xff, 0x00}, 20},        // documentation
};
inline constexpr AddressRange unicast_v6{{0x20}, 3};

}  // namespace detail

IVL_INLINE std::optional<Address> parse_address(const std::string& text) {
  if (text.find('\0') != text.npos) return std::nullopt;
  Address address;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) return address;
  address.is_v6 = true;
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

IVL_INLINE std::string to_text(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(address.is_v6 ? AF_INET6 : AF_INET, address.bytes.data(), text, sizeof text);
  return text;
}

IVL_INLINE bool is_global(const Address& address) {
  if (!address.is_v6) return !detail::is_in(detail::special_v4, address);
  constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, nat64{0, 0x64, 0xff, 0x9b};
  const auto begins_with = [&](const auto& prefix) {
    return std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
  };
  if (begins_with(mapped) || begins_with(nat64)) {
    Address inner;
    std::copy(address.bytes.begin() + 12, address.bytes.end(), inner.bytes.begin());
    return is_global(inner);
  }
  return detail::unicast_v6.contains(address) && !detail::is_in(detail::special_v6, address);
}

}  // namespace ivl::http
