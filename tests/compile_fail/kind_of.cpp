// expect: kind_of: not a storage scalar
#include "ivl/core/scalar.hpp"

#ifdef IVL_CONTROL
using Scalar = float;
#else
using Scalar = double;
#endif

constexpr auto kind = ivl::kind_of<Scalar>;
