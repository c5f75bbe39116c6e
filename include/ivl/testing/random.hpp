// Random stand-ins for pictures and values that one does not have at hand. The same seed gives the same everywhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ivl/core/scalar.hpp"
#include "ivl/image/image.hpp"

namespace ivl {

/// Numerical Recipes' generator: its upper bits are good enough for contents, and it costs nothing.
class RandomBits {
 public:
  explicit RandomBits(std::uint32_t seed) : state_(seed) {}
  std::uint32_t operator()() { return state_ = state_ * 1664525u + 1013904223u; }

 private:
  std::uint32_t state_;
};

/// A picture of noise.
inline Image noise_picture(int width, int height, std::uint32_t seed) {
  Image image{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
  RandomBits bits(seed);
  for (std::uint8_t& value : image.rgb) value = std::uint8_t(bits() >> 24);
  return image;
}

/// Uniform in [middle - spread, middle + spread).
template <class Scalar = float>
std::vector<Scalar> random_values(std::int64_t number, float middle, float spread, std::uint32_t seed) {
  std::vector<Scalar> values(static_cast<std::size_t>(number));
  RandomBits bits(seed);
  for (Scalar& value : values) value = round_to<Scalar>(middle + spread * (float(bits() >> 8) * 0x1p-23f - 1));
  return values;
}

}  // namespace ivl
