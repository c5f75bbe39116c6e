// How much of a number one rounding may change.
#pragma once
#include <cmath>
#include <type_traits>

#include "ivl/core/scalar.hpp"

namespace ivl_test {

inline constexpr double float_unit = 0x1p-24;  ///< largest relative error of one rounding to float

/// The same for each scalar that is not subnormal.
template <class Scalar>
inline constexpr double rounding_unit = std::is_same_v<Scalar, ivl::bf16>   ? 0x1p-8
                                        : std::is_same_v<Scalar, ivl::half> ? 0x1p-11
                                                                            : float_unit;

/// `worst` becomes the larger of both; once there was a NaN it is one.
inline void keep_worst(double& worst, double error) {
  if (!std::isnan(worst) && !(error <= worst)) worst = error;
}

}  // namespace ivl_test
