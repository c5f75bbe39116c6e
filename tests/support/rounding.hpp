// How much of a number one rounding may change.
#pragma once
#include <cmath>
#include <limits>
#include <type_traits>

#include "ivl/core/scalar.hpp"

namespace ivl_test {

inline constexpr double float_unit = 0x1p-24;  ///< largest relative error of one rounding to float

/// The same for each scalar that is not subnormal.
template <class Scalar>
inline constexpr double rounding_unit = std::is_same_v<Scalar, ivl::bf16>   ? 0x1p-8
                                        : std::is_same_v<Scalar, ivl::half> ? 0x1p-11
                                                                            : float_unit;

/// The larger of two errors; one that is NaN counts as infinite, also when others follow.
inline double worse(double worst, double error) {
  if (std::isnan(error)) return std::numeric_limits<double>::infinity();
  return error > worst ? error : worst;
}

}  // namespace ivl_test
