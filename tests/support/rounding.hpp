// How much of a number one rounding may change.
#pragma once
#include <type_traits>

#include "ivl/core/scalar.hpp"

namespace ivl_test {

inline constexpr double float_unit = 0x1p-24;  ///< largest relative error of one rounding to float

/// The same for each scalar that is not subnormal.
template <class Scalar>
inline constexpr double rounding_unit = std::is_same_v<Scalar, ivl::bf16>   ? 0x1p-8
                                        : std::is_same_v<Scalar, ivl::half> ? 0x1p-11
                                                                            : float_unit;

}  // namespace ivl_test
