// Rows whose surroundings show who wrote beside them.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"

namespace ivl_test {

using namespace ivl;

/// Rows with a gap after each and a margin around all; what is not a row is NaN.
template <class Scalar>
struct PoisonedRows {
  static constexpr std::int64_t gap = 5, margin = 32;
  std::int64_t count, width;
  std::vector<Scalar> memory;

  PoisonedRows(std::int64_t count, std::int64_t width)
      : count(count),
        width(width),
        memory(std::size_t(count * (width + gap) + 2 * margin),
               round_to<Scalar>(std::numeric_limits<float>::quiet_NaN())) {}
  Rows<Scalar> rows() { return {memory.data() + margin, count, width, width + gap}; }
  Rows<const Scalar> read() const { return {memory.data() + margin, count, width, width + gap}; }
  bool only_rows_written() const {
    int written = 0;
    for (std::int64_t i = 0; i < std::int64_t(memory.size()); ++i) {
      const std::int64_t at = i - margin;
      const bool inside = at >= 0 && at < count * (width + gap) && at % (width + gap) < width;
      written += !inside && !std::isnan(to_float(memory[std::size_t(i)]));
    }
    return written == 0;
  }
};

}  // namespace ivl_test
