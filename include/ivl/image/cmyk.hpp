// CMYK to RGB, in Pillow's integer arithmetic.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ivl::detail {

/// One pixel of four inks to one of three colours. `out` may be `in`.
inline void rgb_of_cmyk(const std::uint8_t* in, std::uint8_t* out) {
  const std::uint32_t light = 255u - in[3];
  for (std::size_t c = 0; c < 3; ++c) {
    const std::uint32_t ink = in[c] * light + 128;
    out[c] = std::uint8_t(light - (((ink >> 8) + ink) >> 8));
  }
}

}  // namespace ivl::detail
