// expect: no matching function
// x must be as wide as the rows of the matrix.
#include "ivl/cpu/linear.hpp"

#ifdef IVL_CONTROL
inline constexpr int width = 64;
#else
inline constexpr int width = 48;
#endif

void project(ivl::cpu::Context& ctx, ivl::Rows<float, width> x, const ivl::Weight<48, 64>& w, ivl::Rows<float, 48> y) {
  ivl::linear(ctx, x, w, ivl::Store<48>{}, y);
}
