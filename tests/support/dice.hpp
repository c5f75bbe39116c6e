// Random numbers of tests, from a seed that a failure can name.
#pragma once
#include <cstdint>
#include <random>

namespace ivl_test {

/// The same on every machine, unlike the standard library's distributions.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  int between(int low, int high) { return low + int(engine_() % std::uint64_t(high - low + 1)); }
  bool chance(int percent) { return between(1, 100) <= percent; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace ivl_test
